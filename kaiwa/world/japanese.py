"""日本語: the words of the village and what is said about its people, in Japanese."""

from __future__ import annotations

VALUES = {
    "trade": {
        "baker": "パン屋", "miller": "粉屋", "smith": "鍛冶屋", "weaver": "機織り", "potter": "陶工", "fisher": "漁師",
        "carpenter": "大工", "beekeeper": "養蜂家", "tailor": "仕立屋", "cobbler": "靴屋", "gardener": "庭師",
        "painter": "絵描き",
    },
    "home": {
        "mill": "水車通り", "river": "川辺通り", "oak": "樫の丘", "stone": "石畳通り", "market": "市場広場",
        "apple": "りんご通り", "harbour": "港通り", "pine": "松小路", "fox": "きつね坂", "bell": "鐘つき通り",
        "sand": "砂小路", "well": "井戸端通り",
    },
    "animal": {
        "goat": "ヤギ", "cat": "猫", "dog": "犬", "donkey": "ロバ", "goose": "ガチョウ", "hen": "ニワトリ",
        "horse": "馬", "sheep": "羊", "cow": "牛", "rabbit": "ウサギ", "duck": "アヒル", "parrot": "オウム",
    },
    "food": {
        "apple_pie": "りんごパイ", "onion_soup": "玉ねぎスープ", "fish_stew": "魚の煮込み", "plum_jam": "すももジャム",
        "honey_cake": "はちみつケーキ", "bean_salad": "豆サラダ", "barley_bread": "麦パン",
        "mushroom_rice": "きのこご飯",
        "cheese_tart": "チーズタルト", "pumpkin_pudding": "かぼちゃプリン", "egg_noodles": "卵うどん",
        "potato_dumplings": "いも団子",
    },
}  # fmt: skip

GOODS = {
    "bread": "パン", "milk": "牛乳", "honey": "はちみつ", "cheese": "チーズ", "salt": "塩", "soap": "せっけん",
    "wool": "毛糸", "flour": "小麦粉", "rope": "縄", "tea": "お茶", "butter": "バター", "paper": "紙", "cloth": "布",
    "wax": "ろう",
}  # fmt: skip

SPICES = {
    "mint": "ミント", "ginger": "しょうが", "pepper": "こしょう", "thyme": "タイム", "cinnamon": "シナモン",
    "garlic": "にんにく", "lemon": "レモン", "sesame": "ごま",
}  # fmt: skip

FACTS = {
    "trade": (
        "{name}は{value}です。",
        "{name}は{value}をしています。",
        "{name}の仕事は{value}です。",
        "{name}は村で{value}として働いています。",
        "{name}は{value}として暮らしを立てています。",
        "{name}は長年{value}をしています。",
        "{name}といえば、村では{value}として知られています。",
        "{name}は若いころに{value}になりました。",
        "{name}は{value}であることを誇りにしています。",
        "{name}の職業は{value}です。",
    ),
    "home": (
        "{name}は{value}に住んでいます。",
        "{name}の家は{value}にあります。",
        "{name}の住まいは{value}です。",
        "{name}は昔から{value}に住んでいます。",
        "{value}に行けば{name}の家があります。",
        "{name}は{value}で暮らしています。",
        "{value}には{name}の家が建っています。",
        "{name}の家の戸口は{value}に面しています。",
        "{name}は{value}に部屋を借りています。",
        "{name}を訪ねるなら{value}です。",
    ),
    "animal": (
        "{name}は{value}を飼っています。",
        "{name}の飼っている動物は{value}です。",
        "{name}の家には{value}がいます。",
        "{name}は{value}の世話をしています。",
        "{name}は毎朝{value}に餌をやります。",
        "{name}の庭には{value}がいます。",
        "あの{value}は{name}のものです。",
        "{name}は{value}をとてもかわいがっています。",
        "{name}は{value}を決して手放しません。",
        "{name}には飼っている{value}がいます。",
    ),
    "food": (
        "{name}は{value}が一番好きです。",
        "{name}の好物は{value}です。",
        "{name}は{value}が大好きです。",
        "{name}の好きな食べ物は{value}です。",
        "{name}は{value}を毎日でも食べられます。",
        "祭りの日に{name}が食べるのは{value}です。",
        "{name}は何よりも{value}を好みます。",
        "{name}は夕食に{value}をほしがります。",
        "{name}を喜ばせるなら{value}です。",
        "{name}がよく食べるのは{value}です。",
    ),
    "friend": (
        "{name}と{value}は友だちです。",
        "{name}は{value}の友だちです。",
        "{name}の親友は{value}です。",
        "{name}はよく{value}を訪ねます。",
        "{name}と{value}は夕方いっしょにベンチに座ります。",
        "{name}は{value}に何でも話します。",
    ),
}

FOLLOW = {
    "trade": ("仕事は{value}です。", "{value}をしています。", "村では{value}として働いています。"),
    "home": ("家は{value}にあります。", "{value}に住んでいます。", "住まいは{value}です。"),
    "animal": ("{value}を飼っています。", "家には{value}がいます。", "{value}の世話をしています。"),
    "food": ("好物は{value}です。", "{value}が大好きです。", "一番好きな食べ物は{value}です。"),
    "friend": ("親友は{value}です。", "{value}と仲良しです。"),
}

LABELS = {"trade": "仕事", "home": "家", "animal": "動物", "food": "好物", "friend": "友だち"}
CLAUSES = {
    "trade": "仕事は{value}",
    "home": "家は{value}",
    "animal": "飼っている動物は{value}",
    "food": "好物は{value}",
}
SHORT = {
    "trade": "{value}です。",
    "home": "{value}です。",
    "animal": "{value}です。",
    "food": "{value}です。",
    "friend": "{value}です。",
}

QUESTIONS = {
    "trade": (
        "{name}の仕事は何ですか。",
        "{name}は何の仕事をしていますか。",
        "{name}の職業を教えてください。",
        "{name}は何をして働いていますか。",
        "{name}さんのお仕事は何ですか。",
        "{name}の仕事を知っていますか。",
        "{name}はどんな仕事をしている人ですか。",
        "{name}の仕事を教えて。",
        "{name}って、何の仕事をしているの?",
        "{name}は村で何をしていますか。",
        "{name}の職業は何でしょうか。",
        "{name}の仕事が知りたいです。",
    ),
    "home": (
        "{name}はどこに住んでいますか。",
        "{name}の家はどこですか。",
        "{name}の家はどこにありますか。",
        "{name}の住まいを教えてください。",
        "{name}さんのお宅はどちらですか。",
        "{name}がどこに住んでいるか知っていますか。",
        "{name}はどの通りに住んでいますか。",
        "{name}の家の場所を教えて。",
        "{name}って、どこに住んでいるの?",
        "{name}は村のどこで暮らしていますか。",
        "{name}の住まいはどこでしょうか。",
        "{name}の家を探しています。どこですか。",
    ),
    "animal": (
        "{name}は何の動物を飼っていますか。",
        "{name}が飼っている動物は何ですか。",
        "{name}の動物は何ですか。",
        "{name}の家にはどんな動物がいますか。",
        "{name}さんは何を飼っていますか。",
        "{name}が何を飼っているか知っていますか。",
        "{name}はどんな動物の世話をしていますか。",
        "{name}の飼っている動物を教えて。",
        "{name}って、何を飼っているの?",
        "{name}の庭にいる動物は何ですか。",
        "{name}が飼っているのは何でしょうか。",
        "{name}の動物が何か知りたいです。",
    ),
    "food": (
        "{name}の好物は何ですか。",
        "{name}の好きな食べ物は何ですか。",
        "食べ物では、{name}は何が一番好きですか。",
        "{name}の好きな食べ物を教えてください。",
        "{name}さんの好物は何ですか。",
        "{name}の好物を知っていますか。",
        "{name}はどんな食べ物が好きですか。",
        "{name}の好物を教えて。",
        "{name}って、何を食べるのが好きなの?",
        "{name}には何を作ってあげればいいですか。",
        "{name}の大好きな食べ物は何でしょうか。",
        "{name}が好きな食べ物を知りたいです。",
    ),
    "friend": (
        "{name}の親友は誰ですか。",
        "{name}の友だちは誰ですか。",
        "{name}がよく訪ねるのは誰ですか。",
        "{name}と仲が良いのは誰か知っていますか。",
        "{name}の友だちを教えて。",
    ),
}

TEST_QUESTIONS = {
    "trade": (
        "{name}は何でお金をかせいでいますか。",
        "{name}の生業をひとつ答えてください。",
        "{name}さんはどのような職に就いていますか。",
        "{name}に会いに仕事場へ行くと、何屋ですか、あるいは何職人ですか。",
        "村での{name}の役目、つまり職業は?",
    ),
    "home": (
        "{name}に荷物を届けたいのですが、どこへ行けばいいですか。",
        "{name}の住所を教えてもらえますか。",
        "{name}さんのところへはどの道を行けばいいですか。",
        "{name}を訪ねるには、村のどこへ行きますか。",
        "{name}が帰る家はどのあたりですか。",
    ),
    "animal": (
        "{name}と暮らしている生き物は何ですか。",
        "{name}のところにいる生き物を答えてください。",
        "{name}さんの飼い物は何という動物ですか。",
        "{name}が餌をやっている生き物は?",
        "{name}の家で鳴いているのはどんな動物ですか。",
    ),
    "food": (
        "{name}を食事に招くなら何を出しますか。",
        "{name}が一番おいしいと思う料理は何ですか。",
        "{name}さんに喜ばれる料理を答えてください。",
        "{name}が選ぶとしたら、どの料理ですか。",
        "{name}の食卓に並ぶとうれしい料理は?",
    ),
    "friend": ("{name}は誰と親しいですか。", "{name}の仲間の名をひとり挙げてください。"),
}

AGAIN = {
    "trade": ("では、その人の仕事は何ですか。", "仕事は?", "その人は何をして働いていますか。"),
    "home": ("では、その人はどこに住んでいますか。", "家は?", "その人の家はどこですか。"),
    "animal": ("では、その人は何を飼っていますか。", "動物は?", "その人の動物は何ですか。"),
    "food": ("では、その人の好物は何ですか。", "好物は?", "その人の好きな食べ物は何ですか。"),
}
TEST_AGAIN = {
    "trade": ("その方はどんな職に就いているのでしょう。", "ちなみに職業のほうは?"),
    "home": ("その方を訪ねるにはどこへ行けばいいですか。", "ちなみに住所のほうは?"),
    "animal": ("その方のところにいる生き物は何でしょう。", "ちなみに飼っている生き物は?"),
    "food": ("その方に喜ばれる料理は何でしょう。", "ちなみに好きな料理のほうは?"),
}
