"""Between handlers and servables: where and with whom a request runs."""
