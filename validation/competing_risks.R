# Reference figures of the competing-risks kernel: tests/reference/competing_risks.json.
# From the root: Rscript validation/competing_risks.R    (R 4.2.2, cmprsk 2.2-11, survival 3.5-3)
# Every data set stands in the file with its figures.

suppressMessages({library(cmprsk); library(survival); library(jsonlite)})

simulated <- function(n, seed, censored, round_to) {
  set.seed(seed)
  treated <- rbinom(n, 1, 0.5)
  event <- rexp(n, ifelse(treated == 1, 0.008, 0.012))
  competing <- rexp(n, ifelse(treated == 1, 0.006, 0.005))
  ends <- if (censored) runif(n, 20, 250) else rep(Inf, n)
  time <- round_to(pmin(event, competing, ends))
  cause <- ifelse(ends < pmin(event, competing), 0, ifelse(event < competing, 1, 2))
  list(time = time, cause = cause, treated = treated)
}

by_month <- function(x) 30 * ceiling(x / 30)
by_week <- function(x) 7 * ceiling(x / 7)
thousandths <- function(x) round(x, 3)

data <- list(
  continuous = simulated(160, 1, TRUE, thousandths),
  weekly = simulated(150, 2, TRUE, by_week),        # events and censorings share times
  monthly = simulated(90, 3, TRUE, by_month),       # a handful of distinct times
  uncensored = simulated(60, 4, FALSE, by_week),    # the last patients leave together or alone
  small = simulated(16, 11, TRUE, thousandths),
  last_alone = list(time = c(1, 2, 2, 3, 4, 5, 6, 6, 8, 1, 3, 3, 5, 7, 9, 9),
                    cause = c(1, 2, 1, 1, 0, 2, 1, 2, 1, 1, 2, 1, 0, 2, 0, 1),
                    treated = rep(0:1, c(9, 7))))

figures <- function(d) {
  z <- d$treated
  curves <- cuminc(d$time, d$cause, z)
  known <- min(max(d$time[z == 0]), max(d$time[z == 1]))
  days <- unname(quantile(d$time, c(0.1, 0.3, 0.5, 0.8), type = 1))
  days <- sort(unique(pmin(c(days, known), known)))
  on <- timepoints(curves, days)
  rows <- c("0 1", "0 2", "1 1", "1 2")  # arm and cause
  gray <- lapply(1:2, function(k) {
    fit <- crr(d$time, d$cause, z, failcode = k, gtol = 1e-11, maxiter = 100)
    stopifnot(fit$converged)
    list(coef = unname(fit$coef), se = sqrt(fit$var[1, 1]))
  })
  # survival::finegray treats an event and a censoring at one time in another way
  shared <- length(intersect(d$time[d$cause == 0], d$time[d$cause > 0])) > 0
  weighted <- NULL
  if (!shared) {
    frame <- data.frame(time = d$time, cause = factor(d$cause, 0:2), z = z)
    weighted <- sapply(c("1", "2"), function(k) {
      long <- finegray(Surv(time, cause) ~ z, data = frame, etype = k)
      fit <- coxph(Surv(fgstart, fgstop, fgstatus) ~ z, data = long, weights = fgwt,
                   ties = "breslow", eps = 1e-11, iter.max = 50, toler.chol = 1e-13)
      unname(coef(fit))
    }, USE.NAMES = FALSE)
  }
  specific <- lapply(1:2, function(k) {
    fit <- coxph(Surv(d$time, d$cause == k) ~ z, ties = "efron", eps = 1e-11, iter.max = 50,
                 toler.chol = 1e-13)
    test <- survdiff(Surv(d$time, d$cause == k) ~ z)
    list(coef = unname(coef(fit)), se = sqrt(fit$var[1, 1]),
         z = sign(test$obs[2] - test$exp[2]) * sqrt(test$chisq))
  })
  c(d, list(days = days, estimate = unname(on$est[rows, ]), variance = unname(on$var[rows, ]),
            crr = gray, finegray = weighted, cause_specific = specific))
}

result <- list(
  origin = list(script = "Rscript validation/competing_risks.R", R = R.version.string,
                cmprsk = as.character(packageVersion("cmprsk")),
                survival = as.character(packageVersion("survival"))),
  trials = lapply(data, figures))
writeLines(toJSON(result, digits = 15, auto_unbox = TRUE, null = "null"),
           "tests/reference/competing_risks.json")
