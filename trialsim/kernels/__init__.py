"""Arrays in, arrays out: statistics, allocation, integrals. No protocols, no random generators."""
