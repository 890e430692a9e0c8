"""Tests on a cluster; a package, so that its fixtures end with it."""
