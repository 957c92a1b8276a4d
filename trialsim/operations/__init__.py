"""How a trial is carried out in calendar time: sites, patients, supply and those who watch."""
