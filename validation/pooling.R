# Literatures pooled by metafor, Harbord's and Peters' tests by lm: tests/reference/pooling.json
# From the root: Rscript validation/pooling.R    (R 4.2.2, metafor 3.8-1, jsonlite)
suppressMessages({library(metafor); library(jsonlite)})
set.seed(10)
tight <- list(threshold = 1e-12, maxiter = 10000, tol = 1e-12)
methods <- c("FE", "DL", "HE", "SJ", "ML", "REML", "PM", "EB", "HS")
quiet <- function(e) suppressWarnings(suppressMessages(e))
numbers <- function(r) list(tau2 = r$tau2, se_tau2 = r$se.tau2, estimate = c(r$beta), se = r$se,
                            statistic = r$zval, p = r$pval, i2 = r$I2, h2 = r$H2)
fitted <- function(m, y, v, test = "z") quiet(rma(y, v, method = m, test = test, control = tight))
line <- function(y, x, w) {
  f <- lm(y ~ x, weights = w); s <- summary(f)$coefficients
  list(slope = s[2, 1], se = s[2, 2], t = s[2, 3], p = s[2, 4], limit = s[1, 1],
       ci = unname(confint(f)[1, ]), df = f$df.residual)
}
filled <- function(m, estimator, y, v) {
  t <- try(quiet(trimfill(fitted(m, y, v), estimator = estimator, control = tight)), silent = TRUE)
  if (inherits(t, "try-error")) return(list(no_value = TRUE))
  c(list(k0 = t$k0, se_k0 = t$se.k0, side = t$side), numbers(t))
}
literature <- function(k, risk, log_or, spread, small_study, n) {
  n1 <- sample(n, k, TRUE); n0 <- pmax(2, n1 + sample(-3:3, k, TRUE))
  p0 <- runif(k, risk / 2, risk * 1.5)
  p1 <- plogis(qlogis(p0) + rnorm(k, log_or, spread) + small_study * sqrt(4 / n1))
  a <- rbinom(k, n1, p1); c <- rbinom(k, n0, p0)
  d <- escalc("OR", ai = a, n1i = n1, ci = c, n2i = n0)
  y <- c(d$yi); v <- c(d$vi); N <- n1 + n0; x <- a + c
  info <- n1 * n0 * x * (N - x) / (N^2 * (N - 1)); ok <- info > 0
  dl <- confint(fitted("DL", y, v), control = list(tol = 1e-13, maxiter = 10000))$random
  rank <- quiet(ranktest(y, v))
  # as regtest(model = "rma"), which keeps its own tolerance
  mixed <- quiet(rma(y, v, mods = sqrt(v), method = "REML", control = tight))
  loo <- sapply(seq_len(k), function(i) fitted("REML", y[-i], v[-i])$beta)
  cum <- sapply(2:k, function(i) fitted("DL", y[1:i], v[1:i])$beta)
  fills <- expand.grid(method = c("FE", "REML"), estimator = c("L0", "R0", "Q0"),
                       stringsAsFactors = FALSE)
  list(events_treated = a, n_treated = n1, events_control = c, n_control = n0, y = y, v = v,
       fits = sapply(methods, function(m) numbers(fitted(m, y, v)), simplify = FALSE),
       knapp_hartung = numbers(fitted("REML", y, v, "knha")),
       q_profile = unname(dl[1, 2:3]),
       egger = line(y, sqrt(v), 1 / v),
       egger_mixed = list(z = mixed$zval[2], p = mixed$pval[2], limit = mixed$beta[1]),
       harbord = line(((a - x * n1 / N) / info)[ok], (1 / sqrt(info))[ok], info[ok]),
       peters = line(y[ok], (1 / N)[ok], (x * (N - x) / N)[ok]),
       rank = list(tau = unname(rank$tau), p = rank$pval),
       leave_one_out = loo, cumulative = cum,
       fills = mapply(function(m, e) c(list(method = m, estimator = e), filled(m, e, y, v)),
                      fills$method, fills$estimator, SIMPLIFY = FALSE, USE.NAMES = FALSE))
}
literatures <- mapply(
  literature, c(4, 5, 8, 8, 11, 11, 12, 15, 20, 30), c(.3, .2, .1, .4, .3, .05, .3, .2, .3, .25),
  c(-.2, -.5, 0, -.2, -.4, -.3, 0, .2, -.2, -.1), c(.1, .6, .3, 1, .2, 0, .4, .1, .5, .7),
  c(0, -2, 2, -3, -4, 0, 3, 4, -2, 2), list(c(30, 40, 90), 20:200, 30:300, 20:100, 20:60, 15:40,
  20:400, 10:80, c(30, 30, 200), 20:500), SIMPLIFY = FALSE)
# Ties: the same trials again.
tied <- list(y = c(.2, .2, -.4, .2, .5, -.4, .3, -.4), v = c(.1, .1, .3, .1, .4, .3, .1, .3))
r <- quiet(ranktest(tied$y, tied$v)); tied$tau <- unname(r$tau); tied$p <- r$pval
# A likelihood with two maxima, of which the lower one is at 0, where Hedges' estimate starts.
sizes <- c(rep(30, 6), rep(20, 3), 180, 545)
d <- escalc("OR", ai = c(8, 5, 5, 8, 4, 12, 4, 3, 2, 59, 155), n1i = sizes,
            ci = c(10, 8, 7, 11, 9, 8, 8, 5, 6, 43, 152), n2i = sizes)
two <- list(y = c(d$yi), v = c(d$vi))
climbed <- fitted("ML", two$y, two$v)
other <- quiet(rma(two$y, two$v, method = "ML", control = c(tight, tau2.init = .15)))
two <- c(two, list(from_hedges = climbed$tau2, from_above = other$tau2,
                   log_likelihoods = c(logLik(climbed), logLik(other))))
origin <- paste0("Rscript validation/pooling.R; ", R.version.string, "; metafor ",
                 packageVersion("metafor"), " (control: threshold 1e-12, tol 1e-13), stats::lm")
write(toJSON(list(origin = origin, literatures = literatures, tied = tied, two_maxima = two),
             digits = 13, auto_unbox = TRUE, null = "null"), "tests/reference/pooling.json")
