-- Which fitted model shared out a conversion's data_driven credit; NULL: none had been fitted.
ALTER TABLE conversions ADD COLUMN model_version INTEGER;
