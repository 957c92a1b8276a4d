# Interactions by R's own glm and lm, heterogeneity by weighted lm: tests/reference/interaction.json
# From the root: Rscript validation/interaction.R    (R 4.2.2, jsonlite)
library(jsonlite)
set.seed(11)
trial <- function(n, slope, product) {
  t <- rep(c(1, 0), length.out = n)
  x <- round(rnorm(n), 3)
  y <- rbinom(n, 1, plogis(-0.5 + slope * x - 0.3 * t + product * t * x))
  v <- round(2 + slope * x - 0.3 * t + product * t * x + rnorm(n), 3)
  g <- summary(glm(y ~ t * x, family = binomial, control = list(epsilon = 1e-14, maxit = 50)))
  l <- summary(lm(v ~ t * x))
  list(treated = t, covariate = x, event = y, value = v,
       logistic = g$coefficients["t:x", 1:2], linear = l$coefficients["t:x", 1:2],
       linear_p = l$coefficients["t:x", 4], df = l$df[2])
}
trials <- mapply(trial, c(40, 60, 100, 200, 60, 100), c(0, 0.5, -0.8, 1, 0.2, 1.5),
                 c(0, 0.5, 0.7, -1, -0.6, 0), SIMPLIFY = FALSE)
heterogeneity <- function(k) {
  e <- round(rnorm(k, 0, 0.5), 4); s <- round(runif(k, 0.1, 0.4), 4)
  q <- deviance(lm(e ~ 1, weights = 1 / s^2))
  list(estimates = e, standard_errors = s, q = q, p = pchisq(q, k - 1, lower.tail = FALSE))
}
found <- lapply(c(2, 2, 3, 4, 7), heterogeneity)
origin <- paste0("Rscript validation/interaction.R; ", R.version.string, ": glm, lm, pchisq")
write(toJSON(list(origin = origin, trials = trials, heterogeneity = found),
             digits = 15, auto_unbox = TRUE), "tests/reference/interaction.json")
