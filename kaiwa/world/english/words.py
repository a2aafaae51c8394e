"""English: the words of the village and what is said about its people."""

from __future__ import annotations

VALUES = {
    "trade": {
        "baker": "baker", "miller": "miller", "smith": "smith", "weaver": "weaver", "potter": "potter",
        "fisher": "fisher", "carpenter": "carpenter", "beekeeper": "beekeeper", "tailor": "tailor",
        "cobbler": "cobbler", "gardener": "gardener", "painter": "painter",
    },
    "home": {
        "mill": "Mill Lane", "river": "River Road", "oak": "Oak Hill", "stone": "Stone Street",
        "market": "Market Square", "apple": "Apple Street", "harbour": "Harbour Road", "pine": "Pine Lane",
        "fox": "Fox Hill", "bell": "Bell Street", "sand": "Sand Lane", "well": "Well Street",
    },
    "animal": {
        "goat": "goat", "cat": "cat", "dog": "dog", "donkey": "donkey", "goose": "goose", "hen": "hen",
        "horse": "horse", "sheep": "sheep", "cow": "cow", "rabbit": "rabbit", "duck": "duck", "parrot": "parrot",
    },
    "food": {
        "apple_pie": "apple pie", "onion_soup": "onion soup", "fish_stew": "fish stew", "plum_jam": "plum jam",
        "honey_cake": "honey cake", "bean_salad": "bean salad", "barley_bread": "barley bread",
        "mushroom_rice": "mushroom rice", "cheese_tart": "cheese tart", "pumpkin_pudding": "pumpkin pudding",
        "egg_noodles": "egg noodles", "potato_dumplings": "potato dumplings",
    },
}  # fmt: skip

GOODS = {
    "bread": "bread", "milk": "milk", "honey": "honey", "cheese": "cheese", "salt": "salt", "soap": "soap",
    "wool": "wool", "flour": "flour", "rope": "rope", "tea": "tea", "butter": "butter", "paper": "paper",
    "cloth": "cloth", "wax": "wax",
}  # fmt: skip

SPICES = {
    "mint": "mint", "ginger": "ginger", "pepper": "pepper", "thyme": "thyme", "cinnamon": "cinnamon",
    "garlic": "garlic", "lemon": "lemon", "sesame": "sesame",
}  # fmt: skip

# A sentence that says one fact; {name} is the villager, {value} the word from VALUES (for friend: a name).
FACTS = {
    "trade": (
        "{name} is a {value}.",
        "{name} works as a {value}.",
        "{name} is a {value} by trade.",
        "By trade, {name} is a {value}.",
        "{name} earns a living as a {value}.",
        "{name} has been a {value} for years.",
        "Everybody knows {name} as a {value}.",
        "{name} became a {value} long ago.",
        "{name} is proud to be a {value}.",
        "The trade of {name} is that of a {value}.",
    ),
    "home": (
        "{name} lives on {value}.",
        "{name} has a house on {value}.",
        "The home of {name} is on {value}.",
        "{name}'s house stands on {value}.",
        "You will find {name} on {value}.",
        "{name} has always lived on {value}.",
        "On {value} stands the house of {name}.",
        "{name}'s door opens onto {value}.",
        "{name} rents two rooms on {value}.",
        "{name}'s home is on {value}.",
    ),
    "animal": (
        "{name} keeps a {value}.",
        "{name} has a {value}.",
        "{name} owns a {value}.",
        "{name} looks after a {value}.",
        "{name} feeds a {value} every morning.",
        "{name}'s animal is a {value}.",
        "A {value} belongs to {name}.",
        "The {value} in {name}'s yard is well known.",
        "{name} would never sell the {value}.",
        "{name} takes good care of a {value}.",
    ),
    "food": (
        "{name} likes {value} best.",
        "{name}'s favourite food is {value}.",
        "{name} loves {value}.",
        "The favourite food of {name} is {value}.",
        "Nothing pleases {name} more than {value}.",
        "{name} could eat {value} every day.",
        "On feast days {name} asks for {value}.",
        "{name} prefers {value} to anything else.",
        "For supper {name} wants {value}.",
        "What {name} likes to eat most is {value}.",
    ),
    "friend": (
        "{name} and {value} are friends.",
        "{name} is a friend of {value}.",
        "{name}'s best friend is {value}.",
        "{name} often visits {value}.",
        "{name} and {value} sit together on the bench in the evening.",
        "{name} trusts {value} with every secret.",
    ),
}

# The same after the name has just been said.
FOLLOW = {
    "trade": ("They work as a {value}.", "They are a {value}.", "Their trade is that of a {value}."),
    "home": ("They live on {value}.", "Their house is on {value}.", "Home is on {value}."),
    "animal": ("They keep a {value}.", "They have a {value}.", "A {value} lives in the yard."),
    "food": ("They like {value} best.", "Their favourite food is {value}.", "They love {value}."),
    "friend": ("They are a friend of {value}.", "Their best friend is {value}."),
}

# A noun phrase with its value, for tables and two facts in one sentence.
LABELS = {"trade": "trade", "home": "home", "animal": "animal", "food": "favourite food", "friend": "friend"}
CLAUSES = {
    "trade": "is a {value}",
    "home": "lives on {value}",
    "animal": "keeps a {value}",
    "food": "likes {value} best",
}
SHORT = {"trade": "A {value}.", "home": "On {value}.", "animal": "A {value}.", "food": "{Value}.", "friend": "{value}."}

QUESTIONS = {
    "trade": (
        "What does {name} do for a living?",
        "What is {name}'s trade?",
        "What work does {name} do?",
        "Which trade does {name} have?",
        "What is the trade of {name}?",
        "Can you tell me what {name} works as?",
        "Do you know {name}'s trade?",
        "What does {name} work as?",
        "Tell me what {name} does for a living.",
        "I would like to know {name}'s trade.",
        "{name} - what work is that person in?",
        "What kind of work does {name} do in the village?",
        "What profession does {name} follow?",
        "What is {name}'s job?",
        "How does {name} earn a living?",
        "With what work does {name} make money?",
        "What job does {name} do all day?",
        "Name the profession of {name}.",
        "What trade will I find {name} at?",
        "If I go to {name}'s workshop, what work is done there?",
    ),
    "home": (
        "Where does {name} live?",
        "On which street does {name} live?",
        "Where is {name}'s house?",
        "Where is the home of {name}?",
        "Do you know where {name} lives?",
        "Can you tell me where {name} lives?",
        "Where can I find {name}'s house?",
        "Tell me where {name} lives.",
        "I am looking for {name}'s home. Where is it?",
        "Which street is {name}'s house on?",
        "{name} - where is that person at home?",
        "In what part of the village does {name} live?",
        "What address does {name} have?",
        "Please give me the address of {name}.",
        "To which street must I bring a parcel for {name}?",
        "On which door in the village should I knock for {name}?",
        "Which road must I take to {name}?",
        "Please tell me the street of {name}'s door.",
        "If I want to visit {name}, which street do I go to?",
        "Where would a letter find {name}?",
    ),
    "animal": (
        "What animal does {name} keep?",
        "Which animal does {name} have?",
        "What animal belongs to {name}?",
        "What is {name}'s animal?",
        "Do you know which animal {name} keeps?",
        "Can you tell me what animal {name} owns?",
        "Which animal lives at {name}'s place?",
        "Tell me which animal {name} keeps.",
        "What animal does {name} look after?",
        "I wonder what animal {name} has. Do you know?",
        "{name} - which animal does that person keep?",
        "What kind of animal does {name} feed in the morning?",
        "Which creature lives with {name}?",
        "What beast does {name} keep?",
        "Of what animal is {name} the owner?",
        "What sort of creature does {name} look after?",
        "Name the animal in {name}'s yard.",
        "What animal would I meet at {name}'s house?",
        "Which beast belongs to {name}?",
        "Does {name} care for an animal? Which one?",
    ),
    "food": (
        "What is {name}'s favourite food?",
        "What does {name} like to eat best?",
        "Which food does {name} like best?",
        "What food does {name} love?",
        "Do you know {name}'s favourite food?",
        "Can you tell me what {name} likes to eat?",
        "What should I cook for {name}?",
        "Tell me {name}'s favourite food.",
        "What does {name} ask for on feast days?",
        "What would {name} like for supper?",
        "{name} - what does that person like to eat?",
        "Which meal makes {name} happy?",
        "Which dish does {name} like most?",
        "What dish does {name} enjoy?",
        "What would {name} choose for dinner?",
        "What should be on the table when {name} comes?",
        "Which dish is delicious for {name}?",
        "Name the dish that {name} loves.",
        "What can I serve to please {name}?",
        "If {name} may choose a meal, what will it be?",
    ),
    "friend": (
        "Who is {name}'s best friend?",
        "Who is a friend of {name}?",
        "Whom does {name} often visit?",
        "Do you know who {name}'s friend is?",
        "Tell me who {name}'s best friend is.",
    ),
}

TEST_QUESTIONS = {
    "trade": (
        "How does {name} earn money?",
        "Please name {name}'s profession.",
        "What job has {name} got?",
        "In which trade would I meet {name}?",
        "If I visit {name} at work, what trade will I see?",
    ),
    "home": (
        "I have a parcel for {name}. Which street should I bring it to?",
        "What is {name}'s address?",
        "Please name the street where {name} lives.",
        "Where in the village would I knock to see {name}?",
        "Which road leads to {name}'s door?",
    ),
    "animal": (
        "What creature does {name} own?",
        "Please name the animal at {name}'s house.",
        "What sort of animal would I see in {name}'s yard?",
        "Which beast does {name} care for?",
        "What animal is {name} the owner of?",
    ),
    "food": (
        "Which dish does {name} enjoy the most?",
        "Please name the dish that {name} likes best.",
        "What would you serve {name} for dinner?",
        "What does {name} find most delicious?",
        "If {name} could choose, what would be on the table?",
    ),
    "friend": ("With whom is {name} close?", "Please name a friend of {name}."),
}

# The second question of a dialogue; the name was said before.
AGAIN = {
    "trade": (
        "And what do they do for a living?",
        "What is their trade?",
        "And their work?",
        "And their job?",
        "How do they make money?",
        "What profession do they follow?",
    ),
    "home": (
        "And where do they live?",
        "Where is their house?",
        "And their home?",
        "And on which street?",
        "What is their address?",
        "Where would I find them?",
    ),
    "animal": (
        "And what animal do they keep?",
        "Which animal do they have?",
        "And their animal?",
        "And which creature do they own?",
        "Do they keep an animal? Which one?",
        "What beast is theirs?",
    ),
    "food": (
        "And what is their favourite food?",
        "What do they like to eat?",
        "And their favourite food?",
        "And which dish do they like?",
        "What dish would please them?",
        "Which dish do they enjoy most?",
    ),
}
TEST_AGAIN = {
    "trade": ("How do they earn money, then?", "And in which job?"),
    "home": ("On what street would I find that person?", "And the address?"),
    "animal": ("Does that person own an animal, and which?", "And which creature is theirs?"),
    "food": ("What dish would please that person?", "And which dish do they enjoy?"),
}
