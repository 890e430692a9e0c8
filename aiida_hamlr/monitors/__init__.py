"""Monitors: functions that inspect a running job and may stop it."""
