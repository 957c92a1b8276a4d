# Proportional odds by MASS::polr and negative binomial by MASS::glm.nb, with the data they saw.
# Writes tests/reference/endpoint_kinds.json: Rscript validation/endpoint_kinds.R (MASS, jsonlite).
suppressPackageStartupMessages({library(MASS); library(jsonlite)})
set.seed(20)

ordinal <- function(control, ratio, n) {
  above <- 1 - cumsum(control)[-length(control)]
  shifted <- ratio * above / (1 - above + ratio * above)
  treated <- -diff(c(1, shifted, 0))
  fitted_odds(rmultinom(1, n[1], treated)[, 1], rmultinom(1, n[2], control)[, 1], log(ratio))
}

fitted_odds <- function(treated, control, start) {
  k <- seq_along(control)
  d <- data.frame(arm = rep(1:0, c(sum(treated), sum(control))),
                  y = factor(c(rep(k, treated), rep(k, control)), ordered = TRUE))
  below <- head(cumsum(table(d$y)), -1)
  fit <- polr(y ~ arm, d, Hess = TRUE, control = list(reltol = 1e-15, maxit = 5000),
              start = c(start, log(below / (nrow(d) - below)) + start / 2))
  list(treated = treated, control = control, log_odds_ratio = unname(coef(fit)),
       standard_error = sqrt(vcov(fit)["arm", "arm"]))
}

# almost apart: one patient of 601 in each arm is on the other's side
one_astray <- rep(c(0, 30), each = 20)
one_astray[6] <- 1

counted <- function(rate, ratio, dispersion, n, exposures) {
  arm <- rep(1:0, n)
  t <- round(runif(sum(n), exposures[1], exposures[2]), 3)
  mu <- rate * ratio^arm * t
  y <- rnbinom(sum(n), size = 1 / dispersion, mu = mu)
  fit <- glm.nb(y ~ arm + offset(log(t)), control = glm.control(epsilon = 1e-10, maxit = 500))
  list(counts = y, exposure = t, treated = arm, log_rate_ratio = unname(coef(fit)["arm"]),
       standard_error = sqrt(vcov(fit)["arm", "arm"]), dispersion = 1 / fit$theta)
}

write_json(
  list(
    origin = paste0("Rscript validation/endpoint_kinds.R; ", R.version.string, ", MASS ",
                    packageVersion("MASS")),
    proportional_odds = list(
      ordinal(c(0.3, 0.1, 0.2, 0.4), 1.6, c(60, 50)),
      ordinal(c(0.2, 0.1, 0.3, 0.1, 0.05, 0.2, 0.05), 0.5, c(300, 150)),
      ordinal(c(0.25, rep(0.75 / 29, 29)), 1.4, c(100, 100)),
      ordinal(dexp(1:14) / sum(dexp(1:14)), 2.5, c(40, 40))),
    almost_apart = fitted_odds(one_astray, rev(one_astray), 6),
    negative_binomial = list(
      counted(1.5, 0.7, 0.8, c(60, 60), c(0.3, 1)),
      counted(0.6, 1.3, 2.5, c(100, 50), c(0.5, 3)),
      counted(12, 0.9, 0.15, c(30, 40), c(0.1, 2)),
      counted(80, 0.8, 0.02, c(25, 25), c(0.9, 1)))),
  "tests/reference/endpoint_kinds.json", auto_unbox = TRUE, digits = 15)
