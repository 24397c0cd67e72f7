//! Forecasts of monthly, weekly and daily series with intervals.
