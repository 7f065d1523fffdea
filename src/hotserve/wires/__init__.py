"""What carries the APIs: HTTP on sockets, without an application server in between."""
