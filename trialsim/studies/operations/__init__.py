"""Whether a trial can be done: sites, calendar, supply and cost, and the design that buys most."""
