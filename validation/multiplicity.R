# Adjusted P values of Holm and Hochberg by R's own p.adjust: tests/reference/multiplicity.json
# Rscript validation/multiplicity.R > tests/reference/multiplicity.json
set.seed(20)
entry <- function(p) {
  row <- function(x) sprintf("[%s]", paste(format(x, digits = 15, trim = TRUE), collapse = ", "))
  sprintf('    {"p": %s, "holm": %s, "hochberg": %s}', row(p),
          row(p.adjust(p, "holm")), row(p.adjust(p, "hochberg")))
}
families <- lapply(rep(c(2, 3, 5, 8), each = 10), function(m) round(runif(m)^3, 5))
cat('{\n  "program": "', R.version.string, ', stats::p.adjust",\n', sep = "")
cat('  "script": "validation/multiplicity.R",\n  "families": [\n')
cat(paste(vapply(families, entry, ""), collapse = ",\n"), "\n  ]\n}\n")
