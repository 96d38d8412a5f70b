"""What synthetic rows and model size do to the error: ridge on mixed rows, students, divisors."""
