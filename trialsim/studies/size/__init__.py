"""How many patients a trial needs: `planned` by formula, `searched` by simulation."""
