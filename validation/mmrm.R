# Reference figures of the repeated-measures kernel: tests/reference/mmrm.json.
# From the root: Rscript validation/mmrm.R    (R 4.2.2, nlme 3.1-162, lmerTest 3.1-3; minutes)
# Every data set stands in the file with its figures; outcomes have two decimals.

suppressMessages({library(nlme); library(lmerTest); library(numDeriv); library(jsonlite)})

simulated <- function(n, visits, missing, seed) {
  set.seed(seed)
  spread <- outer(1:visits, 1:visits, function(i, j) 0.6^abs(i - j) * (4 + i) * (4 + j))
  treated <- rep(c(TRUE, FALSE, FALSE, TRUE), length.out = n)
  baseline <- rnorm(n, 20, 5)
  y <- matrix(rnorm(n * visits), n) %*% chol(spread) + 0.5 * baseline + outer(treated, 1:visits) * -0.8
  if (missing == "monotone") {
    stops <- rgeom(n, 0.12) + 1
    y[col(y) > stops] <- NA
  }
  if (missing == "intermittent") y[runif(length(y)) < 0.15] <- NA
  list(y = round(y, 2), treated = treated, baseline = round(baseline, 2))
}

long <- function(trial) {
  n <- nrow(trial$y); visits <- ncol(trial$y)
  rows <- data.frame(
    y = as.vector(t(trial$y)), number = rep(1:visits, n), patient = factor(rep(1:n, each = visits)),
    arm = factor(rep(ifelse(trial$treated, "treated", "control"), each = visits)),
    baseline = rep(trial$baseline, each = visits))
  rows$visit <- factor(rows$number)
  na.omit(rows)
}

models <- c(none = y ~ arm * visit, common = y ~ arm * visit + baseline,
            per_visit = y ~ arm * visit + visit:baseline)

differences <- function(names, visits) {  # treated minus control at each visit
  t(sapply(1:visits, function(v) {
    as.numeric(names == "armtreated") + as.numeric(names == paste0("armtreated:visit", v))
  }))
}

# nlminb inside gls stops within 1e-8 of the maximum, which is 1e-4 in a covariance. Newton's steps
# from there, with the gradient of the log-likelihood of gls at fixed parameters, do the rest.
fitted_by_gls <- function(rows, model) {
  first <- gls(model, rows, correlation = corSymm(form = ~ number | patient),
               weights = varIdent(form = ~ 1 | visit), method = "REML",
               control = glsControl(maxIter = 500, msMaxIter = 1000, tolerance = 1e-12))
  ratio <- coef(first$modelStruct$varStruct, unconstrained = FALSE, allCoef = TRUE)
  own <- seq_len(length(ratio) - 1)
  at <- c(ratio[-1], coef(first$modelStruct$corStruct, unconstrained = FALSE))
  fixed_at <- function(x) {
    gls(model, rows, correlation = corSymm(x[-own], form = ~ number | patient, fixed = TRUE),
        weights = varIdent(form = ~ 1 | visit, fixed = setNames(x[own], names(ratio)[-1])),
        method = "REML")
  }
  likelihood <- function(x) as.numeric(logLik(fixed_at(x)))
  curvature <- hessian(likelihood, at)
  for (step in 1:4) at <- at - solve(curvature, grad(likelihood, at))
  fit <- fixed_at(at)
  visits <- nlevels(rows$visit)
  ratio[-1] <- at[own]
  sd <- fit$sigma * ratio[as.character(1:visits)]
  correlation <- diag(visits)
  correlation[lower.tri(correlation)] <- at[-own]
  correlation <- correlation + t(correlation) - diag(visits)
  L <- differences(names(coef(fit)), visits)
  list(estimate = as.vector(L %*% coef(fit)), standard_error = sqrt(diag(L %*% vcov(fit) %*% t(L))),
       covariance = unname(outer(sd, sd) * correlation), log_likelihood = as.numeric(logLik(fit)))
}

# The same model with an unstructured random effect, whose residual variance is not identified. Its
# degrees of freedom are from the numerical Hessian of the REML deviance, cut at rank.
df_by_lmer <- function(rows, model) {
  visits <- nlevels(rows$visit)
  formula <- update(model, . ~ . + (0 + visit | patient))
  fits <- lapply(c("bobyqa", "nlminbwrap"), function(optimizer) {
    limits <- if (optimizer == "bobyqa") list(maxfun = 1e6, rhoend = 1e-9) else list(rel.tol = 1e-14)
    suppressMessages(suppressWarnings(lmer(formula, rows, REML = TRUE, control = lmerControl(
      check.nobs.vs.nRE = "ignore", calc.derivs = FALSE, optimizer = optimizer, optCtrl = limits))))
  })
  fit <- fits[[which.max(sapply(fits, logLik))]]
  L <- differences(names(fixef(fit)), visits)
  found <- apply(L, 1, function(l) contest(fit, l, joint = FALSE)[["df"]])
  list(log_likelihood = as.numeric(logLik(fit)), df = as.vector(found))
}

results <- list()
trials <- list(complete = simulated(40, 4, "none", 1), monotone = simulated(60, 5, "monotone", 2),
               intermittent = simulated(50, 4, "intermittent", 3))
for (name in names(trials)) for (model in names(models)) {
  rows <- long(trials[[name]])
  results[[length(results) + 1]] <- c(list(data = name, baseline = model),
                                      fitted_by_gls(rows, models[[model]]),
                                      lmer = list(df_by_lmer(rows, models[[model]])))
}
versions <- paste0(R.version.string, "; nlme ", packageVersion("nlme"), "; lmerTest ", packageVersion("lmerTest"))
write(toJSON(list(origin = versions, command = "Rscript validation/mmrm.R", trials = trials, results = results),
             digits = I(12), auto_unbox = TRUE, na = "null", pretty = FALSE),
      "tests/reference/mmrm.json")
