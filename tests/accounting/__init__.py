"""Tests of closed months, corrections, invoices and adjustments."""
