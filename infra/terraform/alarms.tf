locals {
  alarm_actions = var.alarm_topic_arn == null ? [] : [var.alarm_topic_arn]
  function      = { FunctionName = aws_lambda_function.ca.function_name }
  store         = { DBInstanceIdentifier = aws_db_instance.store.identifier }
  alarms = {
    errors = {
      about     = "Invocations fail: maintenance or publishing to the bucket, or a process that ends", namespace = "AWS/Lambda", metric = "Errors", dimensions = local.function
      statistic = "Sum", period = 300, periods = 2, above = 0, missing = "notBreaching"
    }
    throttles = {
      about     = "Requests are turned away: more come at once than max_concurrency allows", namespace = "AWS/Lambda", metric = "Throttles", dimensions = local.function
      statistic = "Sum", period = 300, periods = 2, above = 0, missing = "notBreaching"
    }
    slow = {
      about     = "Invocations come near the timeout: is the database well?", namespace = "AWS/Lambda", metric = "Duration", dimensions = local.function
      statistic = "Maximum", period = 300, periods = 3, above = 20000, missing = "notBreaching"
    }
    refused = {
      about     = "The API answers 5xx", namespace = "AWS/ApiGateway", metric = "5xx", dimensions = { ApiId = aws_apigatewayv2_api.ca.id }
      statistic = "Sum", period = 300, periods = 2, above = 5, missing = "notBreaching"
    }
    store_busy = {
      about     = "The database works to capacity", namespace = "AWS/RDS", metric = "CPUUtilization", dimensions = local.store
      statistic = "Average", period = 300, periods = 3, above = 85, missing = "breaching"
    }
    unscheduled = {
      about      = "The schedule's target was not reached: nothing looks after rotation and CRLs but requests", namespace = "AWS/Scheduler", metric = "TargetErrorCount"
      dimensions = { ScheduleGroup = "default" }, statistic = "Sum", period = 900, periods = 1, above = 0, missing = "notBreaching"
    }
  }
}

resource "aws_cloudwatch_metric_alarm" "above" {
  for_each            = local.alarms
  alarm_name          = "${var.name}-${each.key}"
  alarm_description   = each.value.about
  namespace           = each.value.namespace
  metric_name         = each.value.metric
  dimensions          = each.value.dimensions
  statistic           = each.value.statistic
  period              = each.value.period
  evaluation_periods  = each.value.periods
  threshold           = each.value.above
  comparison_operator = "GreaterThanThreshold"
  treat_missing_data  = each.value.missing
  alarm_actions       = local.alarm_actions
  ok_actions          = local.alarm_actions
}

resource "aws_cloudwatch_metric_alarm" "store_full" {
  alarm_name          = "${var.name}-store-full"
  alarm_description   = "The database's disk has less than 2 GiB left: a full one issues nothing"
  namespace           = "AWS/RDS"
  metric_name         = "FreeStorageSpace"
  dimensions          = local.store
  statistic           = "Minimum"
  period              = 300
  evaluation_periods  = 2
  threshold           = 2147483648
  comparison_operator = "LessThanThreshold"
  treat_missing_data  = "breaching"
  alarm_actions       = local.alarm_actions
  ok_actions          = local.alarm_actions
}

# Each signature by the root's key, and each change of either key, is told of when it happens (needs a CloudTrail trail of management events).
resource "aws_cloudwatch_event_rule" "keys" {
  count       = var.alarm_topic_arn == null ? 0 : 1
  name        = "${var.name}-keys"
  description = "The root's key signed, or a key of ${var.name} was changed"
  event_pattern = jsonencode({
    source = ["aws.kms"]
    "$or" = [
      { detail = { eventName = ["Sign"], resources = { ARN = [aws_kms_key.root.arn] } } },
      {
        detail = {
          eventName = ["PutKeyPolicy", "ScheduleKeyDeletion", "DisableKey", "CreateGrant"]
          resources = { ARN = [aws_kms_key.root.arn, aws_kms_key.intermediate.arn, aws_kms_key.sealing.arn] }
        }
      },
    ]
  })
}

resource "aws_cloudwatch_event_target" "keys" {
  count = var.alarm_topic_arn == null ? 0 : 1
  rule  = aws_cloudwatch_event_rule.keys[0].name
  arn   = var.alarm_topic_arn
}
