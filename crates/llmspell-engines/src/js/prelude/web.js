(function ({ host }) { return {}; });
