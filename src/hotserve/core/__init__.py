"""The life cycle of servables: no network, no framework, no wall clock."""
