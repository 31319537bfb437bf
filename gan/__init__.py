"""Generators trained through the discriminator's gradient, and the analyses of why that is hard for symbols."""
