"""Measuring a database, a store or a service from where one stands, within bounds."""
