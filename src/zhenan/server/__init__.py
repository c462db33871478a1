"""Floor that knows everything: settings, urls, the zhenan command, embedded servers, supervisor."""
