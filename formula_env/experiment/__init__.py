"""The roof: what turns an algorithm into an experiment. Nothing below imports it."""
