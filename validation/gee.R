# GEE of a binary response at visits: geepack with the working correlation held at its moment
# estimate, the same in matrices, and Mancl and DeRouen's correction: tests/reference/gee.json
# From the root: Rscript validation/gee.R    (R 4.2.2, geepack, jsonlite)
library(geepack)
library(jsonlite)
set.seed(21)
fitted_gee <- function(n, visits, missed) {
  arm <- rep(c(0, 1), length.out = n)
  u <- rnorm(n)
  d <- expand.grid(visit = seq_len(visits), id = seq_len(n))
  d$arm <- arm[d$id]
  d$y <- as.integer(-1.2 + 0.3 * d$visit + 0.25 * d$arm * d$visit + 1.5 * u[d$id] + rlogis(nrow(d)) > 0)
  d$seen <- runif(nrow(d)) >= missed
  whole <- d
  d <- d[d$seen, ]
  x <- model.matrix(~ 0 + factor(paste(arm, visit)), d)
  rho <- 0
  for (step in 1:200) {
    pairs <- unlist(lapply(split(d$id, d$id), function(v) rep(rho, choose(length(v), 2))))
    g <- geeglm(y ~ 0 + x, id = id, data = d, family = binomial, corstr = "fixed",
                zcor = pairs, scale.fix = TRUE, control = geese.control(epsilon = 1e-12, maxit = 200))
    mu <- fitted(g)
    r <- (d$y - mu) / sqrt(mu * (1 - mu))
    scale <- sum(r^2) / (length(r) - ncol(x))
    cross <- sum(sapply(split(r, d$id), function(e) (sum(e)^2 - sum(e^2)) / 2))
    new <- cross / scale / (length(pairs) - ncol(x))
    if (abs(new - rho) < 1e-13) break
    rho <- new
  }
  b <- coef(g)
  mu <- as.vector(plogis(x %*% b))
  rows <- split(seq_along(mu), d$id)
  parts <- lapply(rows, function(i) {
    a <- sqrt(mu[i] * (1 - mu[i]))
    v <- (diag(1 - rho, length(i)) + rho) * outer(a, a)
    D <- x[i, , drop = FALSE] * a^2
    list(D = D, Vi = solve(v), e = d$y[i] - mu[i])
  })
  B <- solve(Reduce(`+`, lapply(parts, function(p) t(p$D) %*% p$Vi %*% p$D)))
  meat <- function(corrected) Reduce(`+`, lapply(parts, function(p) {
    H <- p$D %*% B %*% t(p$D) %*% p$Vi
    e <- if (corrected) solve(diag(length(p$e)) - H, p$e) else p$e
    s <- t(p$D) %*% p$Vi %*% e
    s %*% t(s)
  }))
  k <- rep(0, length(b)); k[visits] <- -1; k[2 * visits] <- 1
  se <- function(v) sqrt(as.numeric(t(k) %*% v %*% k))
  list(treated = arm, response = matrix(whole$y, n, byrow = TRUE),
       seen = matrix(as.integer(whole$seen), n, byrow = TRUE), correlation = rho,
       estimate = sum(k * b), robust_geepack = se(vcov(g)), robust = se(B %*% meat(FALSE) %*% B),
       corrected = se(B %*% meat(TRUE) %*% B))
}
trials <- mapply(fitted_gee, c(60, 98, 120, 200), c(2, 5, 4, 3), c(0.2, 0.15, 0, 0.3), SIMPLIFY = FALSE)
origin <- paste0("Rscript validation/gee.R; ", R.version.string, ": geepack ", packageVersion("geepack"))
write(toJSON(list(origin = origin, trials = trials), digits = 15, auto_unbox = TRUE), "tests/reference/gee.json")
