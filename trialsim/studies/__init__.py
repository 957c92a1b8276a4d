"""One module per question users ask; each answers with a StudyResult."""
