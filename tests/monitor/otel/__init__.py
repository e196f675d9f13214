"""Tests of OTLP: against a receiver that decodes what comes."""
