# Figures that trialsim.studies.consistency must reproduce:
#   Rscript validation/consistency.R > tests/reference/consistency.json
# Tests of two proportions, effects with intervals (glm), Student's t, sizes per arm, pools.
suppressWarnings(suppressMessages({library(jsonlite); library(metafor)}))

tables <- rbind(c(13, 32, 3, 32), c(9, 34, 3, 32), c(13, 32, 9, 34), c(7, 49, 2, 48),
                c(14, 29, 9, 33), c(47, 181, 63, 180), c(127, 542, 132, 547), c(42, 56, 31, 58),
                c(18, 56, 34, 58), c(5, 56, 14, 58), c(36, 56, 26, 58), c(1, 30, 15, 33),
                c(2, 9, 7, 8), c(250, 1200, 301, 900), c(5, 5, 1, 6))

one <- function(t) {
  x1 <- t[1]; n1 <- t[2]; x0 <- t[3]; n0 <- t[4]; n <- n1 + n0
  m <- matrix(c(x1, n1 - x1, x0, n0 - x0), 2)
  pearson <- suppressWarnings(chisq.test(m, correct = FALSE))
  yates <- suppressWarnings(chisq.test(m, correct = TRUE))
  fisher <- fisher.test(m)
  own <- dhyper(x1, x1 + x0, n - x1 - x0, n1)
  e <- pearson$expected
  g <- 2 * sum(ifelse(m > 0, m * log(m / e), 0))
  p1 <- x1 / n1; p0 <- x0 / n0
  wald <- (p1 - p0) / sqrt(p1 * (1 - p1) / n1 + p0 * (1 - p0) / n0)
  list(table = t,
       p = list("chi-square" = pearson$p.value, "chi-square with Yates' correction" = yates$p.value,
                "Fisher" = fisher$p.value,
                "chi-square (N - 1)" = pchisq(unname(pearson$statistic) * (n - 1) / n, 1, lower.tail = FALSE),
                "likelihood ratio" = pchisq(g, 1, lower.tail = FALSE),
                "Wald" = 2 * pnorm(-abs(wald)), "Fisher, mid-P" = fisher$p.value - own / 2),
       chi_square = unname(pearson$statistic))
}

by_glm <- function(t, link) {
  d <- data.frame(x = c(t[1], t[3]), n = c(t[2], t[4]), a = c(1, 0))
  start <- if (link == "log") c(log(t[3] / t[4]), log(t[1] / t[2] / (t[3] / t[4]))) else
           if (link == "identity") c(t[3] / t[4], t[1] / t[2] - t[3] / t[4]) else NULL
  f <- glm(cbind(x, n - x) ~ a, binomial(link), d, start = start, epsilon = 1e-14, maxit = 200)
  unname(c(coef(f)[2], confint.default(f)[2, ]))
}
effects <- apply(tables[tables[, 1] < tables[, 2], ], 1, function(t)
  list(table = t, "odds ratio" = exp(by_glm(t, "logit")), "risk ratio" = exp(by_glm(t, "log")),
       "risk difference" = by_glm(t, "identity"),
       "hazard ratio" = unname(exp(by_glm(t, "cloglog"))[1])), simplify = FALSE)

t_grid <- expand.grid(t = c(0.01, 0.5, 1.3, 2.2, 4, 9), df = c(1, 2, 3, 4, 7, 10, 31, 112, 577))
t_grid$p <- 2 * pt(-t_grid$t, t_grid$df)
q_grid <- expand.grid(p = c(0.5, 0.05, 0.01, 1e-4), df = c(1, 2, 9, 112))
q_grid$t <- qt(1 - q_grid$p / 2, q_grid$df)

# arm sizes from which on P stays below a limit, by looking at every size
lasting <- function(p1, p0, alpha, most = 400) {
  n <- 2:most
  p <- sapply(n, function(k) {
    x1 <- round(p1 * k); x0 <- round(p0 * k); m <- matrix(c(x1, k - x1, x0, k - x0), 2)
    c(suppressWarnings(chisq.test(m, correct = FALSE))$p.value, fisher.test(m)$p.value,
      suppressWarnings(chisq.test(m, correct = TRUE))$p.value)
  })
  p[is.nan(p)] <- 1
  sapply(1:3, function(i) max(n[p[i, ] >= alpha]) + 1)
}
claims <- list(c(0.65, 0.45, 0.01), c(0.75, 0.534, 0.05), c(0.2, 0.4, 0.001), c(0.26, 0.35, 0.05))
arms <- lapply(claims, function(k) list(claim = k, n = lasting(k[1], k[2], k[3], 900)))

pooled <- power.prop.test(p1 = 0.35, p2 = 0.5, power = 0.8)$n
plan <- list(pooled = pooled, power_t = power.t.test(n = 57, delta = 1, sd = 1)$power)

strata <- data.frame(yi = log(c(0.41, 0.82)), se = c(log(0.68 / 0.24), log(1.03 / 0.65)) / (2 * qnorm(0.975)))
fit <- rma(yi, sei = se, data = strata, method = "FE")
apart <- rma(yi, sei = se, mods = ~ c(1, 0), data = strata, method = "FE")
mh <- rma.mh(measure = "OR", ai = c(47, 127), n1i = c(181, 542), ci = c(63, 132), n2i = c(180, 547), correct = FALSE)
pools <- list(estimate = c(exp(coef(fit)), exp(fit$ci.lb), exp(fit$ci.ub)), p = fit$pval,
              ratio = c(exp(coef(apart)[2]), exp(apart$ci.lb[2]), exp(apart$ci.ub[2])), p_ratio = apart$pval[2],
              mantel_haenszel = c(exp(coef(mh)), exp(mh$ci.lb), exp(mh$ci.ub)))
sd_behind <- uniroot(function(s) 2 * pt(-2.3 / (s * sqrt(1 / 56 + 1 / 58)), 112) - 0.05, c(1, 20), tol = 1e-12)$root

cat(toJSON(list(origin = list(script = "Rscript validation/consistency.R", R = R.version.string,
                              metafor = as.character(packageVersion("metafor"))),
                tests = apply(tables, 1, one, simplify = FALSE), effects = effects, t = t_grid, quantiles = q_grid,
                arms = arms, plan = plan, pools = lapply(pools, unname), sd_behind = sd_behind),
           digits = I(15), auto_unbox = TRUE))
