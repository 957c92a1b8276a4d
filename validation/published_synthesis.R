# Published trials pooled by metafor: tests/reference/published_synthesis.json
# From the root: Rscript validation/published_synthesis.R    (R 4.2.2, metafor 3.8-1, jsonlite)
suppressMessages({library(metafor); library(jsonlite)})
tight <- list(threshold = 1e-12, maxiter = 10000, tol = 1e-12)
quiet <- function(e) suppressWarnings(suppressMessages(e))
numbers <- function(r) list(estimate = c(r$beta), lower = r$ci.lb, upper = r$ci.ub, p = r$pval)
pooled <- function(d, measure) {
  d <- quiet(escalc(measure, ai = a, n1i = n1, ci = c, n2i = n0, data = d, drop00 = measure != "RD"))
  fit <- function(m, test = "z") quiet(rma(yi, vi, data = d, method = m, test = test, control = tight))
  reml <- fit("REML", "knha"); reach <- predict(reml)
  profile <- confint(fit("REML"), control = list(tol = 1e-13, maxiter = 10000))$random
  mh <- quiet(rma.mh(ai = a, n1i = n1, ci = c, n2i = n0, data = d, measure = measure))
  found <- list(
    mh = numbers(mh), fixed = numbers(fit("FE")), dl = numbers(fit("DL")), reml = numbers(reml),
    prediction = c(reach$pi.lb, reach$pi.ub), q = reml$QE, q_p = reml$QEp, i2 = reml$I2,
    tau2 = reml$tau2, tau2_ci = unname(profile[1, 2:3]),
    weights = unname(weights(mh)), weights_reml = unname(weights(reml)))
  if (measure == "OR") found$peto <- numbers(rma.peto(ai = a, n1i = n1, ci = c, n2i = n0, data = d))
  found$without <- lapply(seq_len(nrow(d)), function(i) {
    list(mh = numbers(quiet(rma.mh(ai = a, n1i = n1, ci = c, n2i = n0, data = d[-i, ], measure = measure))))
  })
  if (nrow(d) >= 10) {
    found$egger <- quiet(regtest(d$yi, d$vi, model = "lm"))$pval
    found$rank <- quiet(ranktest(d$yi, d$vi))$pval
    found$missing <- quiet(trimfill(fit("REML"), estimator = "L0", control = tight))$k0
  }
  found
}
two <- data.frame(a = c(47, 127), n1 = c(181, 542), c = c(63, 132), n0 = c(180, 547))
eleven <- data.frame(
  a = c(3, 4, 5, 2, 6, 4, 4, 3, 0, 47, 127), n1 = c(30, 30, 30, 30, 30, 30, 20, 20, 19, 181, 542),
  c = c(9, 10, 8, 7, 10, 9, 6, 7, 6, 63, 132), n0 = c(30, 30, 30, 30, 30, 29, 20, 20, 19, 180, 547))
strata <- rma(c(log(0.41), log(0.82)),
              sei = c(log(0.68 / 0.24), log(1.03 / 0.65)) / (2 * qnorm(0.975)), method = "FE")
out <- list(
  origin = paste("metafor", packageVersion("metafor"), R.version.string),
  two = c(list(table = two), sapply(c("OR", "RR", "RD"), function(m) pooled(two, m), simplify = FALSE)),
  eleven = c(list(table = eleven), sapply(c("OR", "RR", "RD"), function(m) pooled(eleven, m), simplify = FALSE)),
  strata = list(pooled = numbers(strata), q_p = strata$QEp))
write_json(out, "tests/reference/published_synthesis.json", auto_unbox = TRUE, digits = 15, pretty = TRUE)
