"""The vendors' wires as the gateway sees them: which operations pass, what a request may cost, what an answer did."""
