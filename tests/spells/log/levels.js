// Fields come as an object, or flat.
log.info("table", { count: 2, name: "x" });
log.warn("flat", "count", 2, "name", "x");
log.error("none");
log.debug("debug");
