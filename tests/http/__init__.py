"""Tests of hasten.http."""
