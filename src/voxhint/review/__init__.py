"""What a person should see: pictures of cases and one static report page."""
