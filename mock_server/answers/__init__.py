"""The kinds of answers that a script can give, beside a text that is known when it is written.

* `source`: what all of them are: a frozen value that is given the question and says what to answer;
* `kinds`: echo, sequence, corpus and Python callable; `templates`: Jinja; `tools`: a call of a declared tool, with
  arguments that `schema` makes up;
* `beside`: what an answer has beside its text, such as reasoning, search results or given usage;
* `refusals`: how the service refuses in the form of an answer.

Nothing here knows a dialect: `mock_server.saying` and `mock_server.replies` put into its shape what is said.
"""
