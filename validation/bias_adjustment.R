# Random effects with a covariance between trials, by metafor's rma.mv:
#   Rscript validation/bias_adjustment.R > tests/reference/bias_adjustment.json
suppressWarnings(suppressMessages({library(jsonlite); library(metafor)}))
set.seed(12)

one <- function(k, flaws) {
  x <- matrix(rbinom(k * flaws, 1, 0.5), k)
  mean <- -runif(flaws, 0, 0.4); var <- runif(flaws, 0.001, 0.03); kappa <- runif(flaws, 0, 0.2)
  v <- runif(k, 0.01, 0.2)
  y <- rnorm(k, -0.2, sqrt(v + 0.05)) + c(x %*% mean)
  V <- diag(v + c(x %*% kappa^2)) + x %*% diag(var, flaws) %*% t(x)
  fit <- rma.mv(c(y - x %*% mean), V, random = ~ 1 | trial, data = data.frame(trial = 1:k), method = "REML",
                control = list(optimizer = "bobyqa", rhoend = 1e-12))
  equal <- rma.mv(c(y - x %*% mean), V, method = "FE")
  list(y = y, v = v, flawed = x, mean = I(mean), mean_variance = I(var), kappa = I(kappa), tau2 = fit$sigma2,
       estimate = c(fit$beta), se = fit$se, equal = c(equal$beta), equal_se = equal$se)
}
cases <- list(one(4, 1), one(6, 2), one(11, 2), one(25, 3), one(40, 3))
cat(toJSON(list(origin = list(script = "Rscript validation/bias_adjustment.R", R = R.version.string,
                              metafor = as.character(packageVersion("metafor"))), cases = cases),
           digits = I(15), auto_unbox = TRUE))
