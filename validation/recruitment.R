# Site rates fitted by negative binomial regression: MASS::glm.nb with the log exposure as offset,
# theta being the gamma shape; counts and their probabilities by pnbinom.
#   Rscript validation/recruitment.R > tests/reference/recruitment.json
suppressMessages({library(MASS); library(jsonlite)})
set.seed(7)
one <- function(sites, shape, mean) {
  exposure <- round(runif(sites, 20, 900), 1)
  count <- rpois(sites, rgamma(sites, shape, shape / mean) * exposure)
  fit <- glm.nb(count ~ offset(log(exposure)), control = glm.control(epsilon = 1e-14, maxit = 500))
  list(count = count, exposure = exposure, shape = fit$theta, per_day = exp(unname(coef(fit))))
}
fits <- list(one(12, 1.3, 0.03), one(22, 1.3, 0.03), one(40, 3, 0.06), one(30, 0.6, 0.1))
below <- lapply(list(c(6, 1.5, 0.05, 700, 150), c(22, 1.3, 0.03, 1500, 1106), c(1, 2, 0.1, 300, 25)),
                function(p) list(sites = p[1], shape = p[2], per_day = p[3], day = p[4], n = p[5],
                  probability = 1 - pnbinom(p[5] - 1, size = p[1] * p[2], mu = p[1] * p[3] * p[4])))
cat(toJSON(list(origin = list(script = "Rscript validation/recruitment.R", R = R.version.string,
                              MASS = as.character(packageVersion("MASS"))),
                fits = fits, probabilities = below), digits = I(15), auto_unbox = TRUE))
