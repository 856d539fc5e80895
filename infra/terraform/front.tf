# An HTTP API: it has a name before the function has one, throttles strangers, and its stage adds nothing to a path.
resource "aws_apigatewayv2_api" "ca" {
  name          = var.name
  description   = "The API of ${var.name}"
  protocol_type = "HTTP"
}

resource "aws_apigatewayv2_integration" "ca" {
  api_id                 = aws_apigatewayv2_api.ca.id
  integration_type       = "AWS_PROXY"
  integration_uri        = aws_lambda_function.ca.invoke_arn
  payload_format_version = "2.0"
}

resource "aws_apigatewayv2_route" "ca" {
  api_id    = aws_apigatewayv2_api.ca.id
  route_key = "$default"
  target    = "integrations/${aws_apigatewayv2_integration.ca.id}"
}

resource "aws_apigatewayv2_stage" "ca" {
  api_id      = aws_apigatewayv2_api.ca.id
  name        = "$default"
  auto_deploy = true

  default_route_settings {
    throttling_rate_limit  = 1000
    throttling_burst_limit = 2000
  }
}

resource "aws_lambda_permission" "front" {
  statement_id  = "front"
  action        = "lambda:InvokeFunction"
  function_name = aws_lambda_function.ca.function_name
  principal     = "apigateway.amazonaws.com"
  source_arn    = "${aws_apigatewayv2_api.ca.execution_arn}/*"
}
