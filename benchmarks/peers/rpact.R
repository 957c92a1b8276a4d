# Simulation speed (and power) of the R package rpact on four two-arm designs.
#
# Usage: Rscript rpact.R [--quick]      prints one JSON document on stdout.
#
# Each design gets one untimed warm-up call, which also sets the number of
# iterations so that a repeat takes about 1.5 seconds, then five timed repeats
# with seeds 1 to 5. Only the simulation call is timed (elapsed, one core).
# --quick uses a tenth of the iterations and two repeats. `power` is the mean
# over the timed repeats and `power_se` its binomial standard error. `expected_months`
# is the mean time of the analysis at which a trial stops (null without a time axis).

quick <- "--quick" %in% commandArgs(trailingOnly = TRUE)
sink(stderr(), type = "output") # nothing but the JSON may reach stdout
suppressPackageStartupMessages(library(rpact))

repeats <- if (quick) 2 else 5
target_seconds <- 1.5
control_hazard <- log(2) / 10

num <- function(x, fmt = "%.6g") {
    x <- ifelse(is.na(x), "null", sprintf(fmt, x))
    if (length(x) == 1) x else paste0("[", paste(x, collapse = ", "), "]")
}

of_design <- function(looks) {
    getDesignGroupSequential(kMax = length(looks), alpha = 0.025, sided = 1,
        typeOfDesign = "OF", informationRates = looks / max(looks))
}
fixed_design <- getDesignGroupSequential(kMax = 1, alpha = 0.025, sided = 1)

survival <- function(design, events, ...) {
    function(n, seed) getSimulationSurvival(design, directionUpper = FALSE,
        accrualTime = c(0, 12), maxNumberOfSubjects = 400, plannedEvents = events,
        maxNumberOfIterations = n, seed = seed, longTimeSimulationAllowed = TRUE, ...)
}

bench <- function(id, simulate, warm_up, note, design = NULL) {
    elapsed <- system.time(simulate(warm_up, 1001))[["elapsed"]]
    n <- max(100, round(target_seconds * warm_up / max(elapsed, 0.01), -2))
    if (quick) n <- ceiling(n / 10)
    rate <- power <- months <- subjects <- numeric(repeats)
    for (i in seq_len(repeats)) {
        rate[i] <- n / system.time(result <- simulate(n, i))[["elapsed"]]
        power[i] <- result$overallReject
        subjects[i] <- result$expectedNumberOfSubjects
        months[i] <- if ("studyDuration" %in% names(result)) result$studyDuration else NA
    }
    p <- mean(power)
    bounds <- if (is.null(design)) "" else
        sprintf(', "bounds": %s', num(design$criticalValues, "%.8f"))
    sprintf(paste0('{"id": "%s", "trials_per_second": %s, "iterations": %d, "power": %s, ',
        '"power_se": %s, "expected_months": %s, "expected_subjects": %s%s, "note": "%s"}'),
        id, num(rate, "%.1f"), as.integer(n), num(p), num(sqrt(p * (1 - p) / (n * repeats))),
        num(mean(months)), num(mean(subjects)), bounds, note)
}

survival_note <- paste("400 patients in all, patient i enters at exactly 0.03 * i months",
    "(deterministic), arms alternate treated, control (200 each); exponential event times,",
    "no dropout; analysis at the time of the last planned event; unweighted log-rank z")
rates_note <- paste("plannedSubjects is cumulative over both arms; treated/control per stage",
    "185/184, 185/184, 184/184 (554/552 in all); binomial counts per stage, pooled-variance z",
    "of the cumulative rates (normalApproximation = TRUE); no time axis")

of_events <- of_design(c(83, 167, 250))
of_subjects <- of_design(c(369, 738, 1106))
designs <- c(
    bench("log-rank", survival(fixed_design, 250, lambda2 = control_hazard,
        hazardRatio = 0.70), 2000, survival_note),
    bench("log-rank-delay", survival(fixed_design, 250, piecewiseSurvivalTime = c(0, 4),
        lambda2 = control_hazard * c(1, 1), lambda1 = control_hazard * c(1, 0.60)), 2000,
        paste0(survival_note, "; months 0-4 since the patient's entry have hazard ratio 1")),
    bench("log-rank-three-looks", survival(of_events, c(83, 167, 250),
        lambda2 = control_hazard, hazardRatio = 0.70), 2000, survival_note, of_events),
    bench("binary-three-looks", function(n, seed) getSimulationRates(of_subjects, groups = 2,
        normalApproximation = TRUE, directionUpper = FALSE, pi1 = 0.206602, pi2 = 0.241,
        plannedSubjects = c(369, 738, 1106), allocationRatioPlanned = 1,
        maxNumberOfIterations = n, seed = seed), 10000, rates_note, of_subjects))

sink()
cat(sprintf('{"package": "rpact", "version": "%s", "r": "%s", "designs": [\n  %s\n]}\n',
    packageVersion("rpact"), R.version.string, paste(designs, collapse = ",\n  ")))
