"""The local web page: the command line's answers, in rooms.

The way of a request, from the address to the page::

    guard      is it from this machine, small enough, of our own page?
    state      query string -> one frozen state of a room, or problems in words
    rooms/     state -> the words of a command, and its answer -> what the page shows
    answers    words -> answer: kept, under way, or asked for
    pool       warm processes that compute, one job each; progress, cancel, bounds
    worker     in such a process: the command itself, its document, its figures
    web        routes and pages; `serve` opens the door and the browser

No number is computed here: every answer is the document that ``--json`` prints.
"""
