"""Monitors: functions that look at a running job, and may end it."""
