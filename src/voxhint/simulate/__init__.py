"""What would a person have marked, on whom, and in how many seconds?"""
