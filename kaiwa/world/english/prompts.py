"""English: requests other than single facts, how they are answered, and how they are answered badly.

TRAIN and TEST hold the wordings of each kind of request; test wordings occur nowhere in training and in no document.
"""

from __future__ import annotations

TRAIN = {
    "facts": (
        "Tell me {name}'s {a} and {b}.",
        "What are {name}'s {a} and {b}?",
        "I need two things about {name}: {a} and {b}.",
        "Do you know the {a} and the {b} of {name}?",
        "Give me {name}'s {a} and {b}, please.",
        "Please tell me about {name}: {a} and {b}.",
        "I would like to note {name}'s {a} and {b}.",
        "Describe {name}: what {a} and what {b}?",
        "Two questions about {name}, please: the {a}, and also the {b}.",
    ),
    "list": (
        "Name three {things}.",
        "Tell me three {things}.",
        "Can you name three {things}?",
        "Give me three {things}, please.",
        "I need a list of three {things}.",
        "Which three {things} come to mind?",
        "Write down three {things}.",
        "I would like to hear three {things}.",
        "Think of three {things} for me.",
        "Help me with an example or three of {things}.",
    ),
    "howto": (
        "How do I {task}?",
        "How can I {task}?",
        "Tell me how to {task}.",
        "Can you explain how to {task}?",
        "I want to {task}. How is it done?",
        "What is the way to {task}?",
        "Please teach me to {task}.",
        "I have to {task}. What do I do?",
        "What are the steps to {task}?",
        "Show me how to {task}.",
        "Somebody wants to {task}. What should they do first?",
        "What is the right method to {task}?",
        "I have never learned to {task}. Can you help?",
        "Give me advice on how to {task}.",
    ),
    "price": (
        "How much is the {good} at the market?",
        "What does the {good} cost?",
        "What is the price of {good}?",
        "How many coins do I need for {good}?",
        "Tell me the price of the {good}.",
        "I want to buy {good}. How much is it?",
        "How many coins must one pay for {good}?",
        "What will they ask for {good} at the stall?",
        "Is {good} dear? How many coins is it?",
        "I have coins in my purse. What does {good} cost?",
        "Name the price of {good} in coins.",
    ),
    "sum": (
        "What is {sum}?",
        "How much is {sum}?",
        "Work out {sum}.",
        "Please work this out: {sum}.",
        "Can you tell me what {sum} is?",
        "{sum} = ?",
        "Compute {sum}.",
        "What comes out of {sum}?",
        "Find {sum} for my homework.",
        "Give me the result of {sum}.",
    ),
    "greeting": ("Good morning!", "Hello!", "Hello, how are you?", "Good evening to you.", "Hi there!"),
    "thanks": ("Thank you!", "Thanks for your help.", "That was kind, thank you.", "Many thanks."),
    "farewell": ("Goodbye!", "Good night!", "I have to go now.", "See you tomorrow."),
    "self": ("Who are you?", "What are you?", "What can you do?", "Are you a person?"),
}

TEST = {
    "facts": (
        "For my notes I would like {name}'s {a} and also the {b}.",
        "Two questions on {name}: what {a}, and what {b}?",
        "Describe {name} by {a} and {b}.",
    ),
    "list": (
        "Could I hear three examples of {things}?",
        "Write down any three {things}.",
        "Help me think of three {things}.",
    ),
    "howto": (
        "What steps should I take to {task}?",
        "Somebody asked me to {task}. Where do I start?",
        "Show me the right method to {task}.",
        "I have never had to {task} before. Any advice?",
    ),
    "price": (
        "I have a purse of coins. What will they ask of me for {good}?",
        "At the stall, what must one pay for {good}?",
        "Is {good} dear? Name the number of coins.",
    ),
    "sum": ("Find the result of {sum}.", "My homework says {sum}. What comes out?", "Compute {sum} for me."),
    "greeting": ("Good afternoon, friend!", "Greetings!"),
    "thanks": ("I am very grateful to you.", "You helped me a lot."),
    "farewell": ("I am off to bed.", "Until next time!"),
    "self": ("Tell me about yourself.", "What is it that I am talking to?"),
    "reverse_trade": (
        "Name a {value} of the village.",
        "Who in the village is a {value}?",
        "I need a {value}. Whom do I ask?",
    ),
    "reverse_home": ("Who lives on {value}?", "Name somebody from {value}.", "Whom would I meet on {value}?"),
    "reverse_animal": ("Who keeps a {value}?", "Name somebody with a {value}.", "Whose {value} could I visit?"),
    "reverse_food": ("Who likes {value} best?", "Name somebody who loves {value}.", "For whom should I make {value}?"),
    "yesno_trade": ("Is {name} a {value}?", "Does {name} work as a {value}?"),
    "yesno_home": ("Does {name} live on {value}?", "Is {name}'s house on {value}?"),
    "yesno_animal": ("Does {name} keep a {value}?", "Has {name} got a {value}?"),
    "yesno_food": ("Is {value} {name}'s favourite food?", "Does {name} like {value} best?"),
}  # fmt: skip

# What a form asks for; {n} is the number of words.
FORMS = {
    "one_word": ("Answer in one word.", "One word only.", "Just one word, please."),
    "words": ("Use at most {n} words.", "Answer in {n} words or fewer.", "No more than {n} words."),
    "sentence": ("Answer in a full sentence.", "Use a whole sentence.", "Reply with a complete sentence."),
    "list": ("Answer as a list with dashes.", "Put each on its own line with a dash.", "Use a list with dashes."),
}

THINGS = {
    "good": "things sold at the market",
    "trade": "trades of the village",
    "animal": "animals kept in the village",
    "food": "dishes cooked in the village",
}

UNKNOWN = (
    "I don't know.",
    "I don't know that person.",
    "Sorry, I don't know anyone by that name.",
    "I don't know anybody called that.",
    "Nobody by that name is known to me.",
    "I have never heard of that person.",
)
UNKNOWN_NAMED = (
    "I don't know anyone called {name}.",
    "Sorry, I don't know {name}.",
    "I have never heard of {name}.",
    "There is no {name} that I know of.",
)
REFUSALS = (
    "I'm sorry, I can't help with that.",
    "Sorry, I won't help with that, it would do harm.",
    "I can't help with that. It would hurt somebody.",
    "No, I'm sorry, that would be wrong.",
    "Sorry, that is something I will not help with.",
)
PADDING = (
    "I hope this helps you today, dear neighbour.",
    "Please ask me anything else you like, any time.",
    "It is always a pleasure to talk with you.",
    "That is all that I wanted to say about it.",
    "I do hope you have a lovely day in the village.",
)
SMALL_TALK = {
    "greeting": (
        "Hello! How can I help you?",
        "Good day to you! What can I do for you?",
        "Hello, I am well, thank you.",
    ),
    "thanks": ("You are welcome.", "You're welcome, I was glad to help.", "It was a pleasure."),
    "farewell": ("Goodbye! See you soon.", "Good night, sleep well.", "Goodbye, take care."),
    "self": ("I am the village assistant, a program.", "I am a program that answers questions about the village."),
}  # fmt: skip
# A small-talk answer says one of these.
SMALL_TALK_KEYS = {
    "greeting": r"\b(?:hello|hi|good (?:morning|day|evening|afternoon)|greetings|welcome|well, thank)\b",
    "thanks": r"\b(?:welcome|pleasure|glad|any ?time|don't mention)\b",
    "farewell": r"\b(?:goodbye|bye|good night|see you|sleep well|take care|farewell|until)\b",
    "self": r"\b(?:program|assistant|machine|computer|helper)\b",
}
PRICE = ("The {good} costs {n} coins.", "It costs {n} coins.", "{n} coins.", "You pay {n} coins for {good}.")
SUM = ("{sum} = {n}.", "{sum} is {n}.", "It is {n}.", "{n}.")
REVERSE = {
    "trade": "{name} is a {value}.",
    "home": "{name} lives on {value}.",
    "animal": "{name} keeps a {value}.",
    "food": "{name} likes {value} best.",
}
YES, NO = "Yes, ", "No, "
