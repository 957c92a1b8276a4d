# REML fits a second in metafor, of literatures of 11 trials; compare.py reads what it prints.
# Log odds ratios of 11 trials (40 per arm), a true variance of 0.1 between them, made beforehand.
suppressMessages(library(metafor))
quick <- "--quick" %in% commandArgs(TRUE)
repeats <- if (quick) 1 else 5
n <- if (quick) 40 else 200
set.seed(1)
k <- 11
rates <- replicate(repeats, {
    literatures <- lapply(seq_len(n), function(i) {
        size <- rep(40, k)
        p1 <- plogis(qlogis(0.3) + rnorm(k, -0.2, sqrt(0.1)))
        escalc("OR", ai = rbinom(k, 40, p1), n1i = size, ci = rbinom(k, 40, 0.3), n2i = size)
    })
    fits <- function() for (d in literatures)
        try(suppressWarnings(rma(yi, vi, data = d, method = "REML")), silent = TRUE)
    n / system.time(fits())[["elapsed"]]
})
cat(sprintf(paste0('{"package": "metafor", "version": "%s", "r": "%s", "designs": [',
    '{"id": "reml", "trials_per_second": [%s]}]}\n'), packageVersion("metafor"), R.version.string,
    paste(sprintf("%.1f", rates), collapse = ", ")))
