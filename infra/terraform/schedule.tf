resource "aws_scheduler_schedule" "maintenance" {
  name                = "${var.name}-maintenance"
  description         = "Rotation, CRLs, bundles of other trust domains, pruning, publishing"
  schedule_expression = "rate(${var.schedule_minutes} minutes)"

  flexible_time_window {
    mode = "OFF"
  }

  target {
    arn      = aws_lambda_function.ca.arn
    role_arn = aws_iam_role.schedule.arn
    input    = jsonencode({ countersign = "maintenance" })

    # The next one does what this one did not.
    retry_policy {
      maximum_retry_attempts       = 0
      maximum_event_age_in_seconds = 60
    }
  }
}

resource "aws_iam_role" "schedule" {
  name = "${var.name}-schedule"
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Effect    = "Allow"
        Principal = { Service = "scheduler.amazonaws.com" }
        Action    = "sts:AssumeRole"
        Condition = { StringEquals = { "aws:SourceAccount" = data.aws_caller_identity.current.account_id } }
      },
    ]
  })
}

resource "aws_iam_role_policy" "schedule" {
  name = "${var.name}-schedule"
  role = aws_iam_role.schedule.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Effect   = "Allow"
        Action   = "lambda:InvokeFunction"
        Resource = aws_lambda_function.ca.arn
      },
    ]
  })
}

# Lambda would repeat an asynchronous invocation that fails, twice.
resource "aws_lambda_function_event_invoke_config" "ca" {
  function_name                = aws_lambda_function.ca.function_name
  maximum_retry_attempts       = 0
  maximum_event_age_in_seconds = 60
}
