"""What makes mail leave under the customer's own name. Pure: values in, values out."""
