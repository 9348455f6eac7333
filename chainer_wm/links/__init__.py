"""Networks, which have parameters: V (ConvVAE), M (MDN-RNN), recurrent cores, pixel model."""
