"""Coupons at the checkout: validated, reserved, confirmed with the order or released, reversed on a return."""
