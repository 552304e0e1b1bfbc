"""The users that `benchmarks.loaders` knows, without importing Locust, which patches the process."""

#: Name in the table -> what it asks for.
NAMES = {
    "Locust HttpUser": "whole answer",
    "Locust FastHttpUser": "whole answer",
    "qfkit ChatUser": "whole answer",
    "qfkit ChatUser, signed": "whole answer",
    "Locust HttpUser, stream": "stream",
    "qfkit StreamUser": "stream",
}

#: What is asked for -> the user of plain Locust that others are held against.
PLAIN = {"whole answer": "Locust HttpUser", "stream": "Locust HttpUser, stream"}
