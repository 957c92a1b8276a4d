# Simulation speed (and power) of the R package Mediana on one fixed two-arm
# binary design: 553 patients per arm, risks 0.241 and 0.206602, one-sided 0.025.
#
# Usage: Rscript mediana.R [--quick]    prints one JSON document on stdout.
#
# One untimed warm-up call sets the number of iterations so that a repeat takes
# about 1.5 seconds, then five repeats with different seeds are timed. Only the
# CSE call is timed (elapsed). With proc.load = 1 CSE still starts and stops one
# worker process per call; `overhead_seconds` is the time of a one-trial call, so
# that this can be told apart from the simulation. --quick uses a tenth of the
# iterations and two repeats (start-up then dominates: for smoke tests only).

quick <- "--quick" %in% commandArgs(trailingOnly = TRUE)
sink(stderr(), type = "output") # nothing but the JSON may reach stdout
suppressPackageStartupMessages(library(Mediana))

repeats <- if (quick) 2 else 5
target_seconds <- 1.5
num <- function(x, fmt = "%.6g") sprintf(fmt, x)

data_model <- DataModel() + OutcomeDist(outcome.dist = "BinomDist") + SampleSize(553) +
    Sample(id = "Control", outcome.par = parameters(parameters(prop = 0.241))) +
    Sample(id = "Treated", outcome.par = parameters(parameters(prop = 0.206602)))
analysis_model <- AnalysisModel() + Test(id = "Treated vs control", method = "PropTest",
    samples = samples("Control", "Treated"), par = parameters(larger = FALSE))
evaluation_model <- EvaluationModel() + Criterion(id = "Power", method = "MarginalPower",
    tests = tests("Treated vs control"), labels = "Treated vs control",
    par = parameters(alpha = 0.025))

simulate <- function(n, seed) {
    CSE(data_model, analysis_model, evaluation_model,
        SimParameters(n.sims = n, proc.load = 1, seed = seed))
}
elapsed <- function(n, seed) system.time(simulate(n, seed))[["elapsed"]]

warm_up <- elapsed(500, 1001)
overhead <- median(c(elapsed(1, 1002), elapsed(1, 1003), elapsed(1, 1004)))
per_trial <- max(warm_up - overhead, 0.01) / 500
n <- max(100, round((target_seconds - overhead) / per_trial, -2))
if (quick) n <- ceiling(n / 10)

rate <- power <- numeric(repeats)
for (i in seq_len(repeats)) {
    rate[i] <- n / system.time(result <- simulate(n, i))[["elapsed"]]
    power[i] <- result$simulation.results$result
}
p <- mean(power)

note <- paste("553 patients per arm, one row per patient; PropTest is prop.test without",
    "continuity correction (pooled z), larger = FALSE; proc.load = 1 is one worker process,",
    "started within each timed call (overhead_seconds)")
sink()
cat(sprintf(paste0('{"package": "Mediana", "version": "%s", "r": "%s", "designs": [\n  ',
    '{"id": "binary", "trials_per_second": [%s], "iterations": %d, "power": %s, ',
    '"power_se": %s, "expected_months": null, "overhead_seconds": %s, "note": "%s"}\n]}\n'),
    packageVersion("Mediana"), R.version.string,
    paste(num(rate, "%.1f"), collapse = ", "), as.integer(n), num(p),
    num(sqrt(p * (1 - p) / (n * repeats))), num(overhead, "%.3f"), note))
