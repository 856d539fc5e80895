data "archive_file" "package" {
  type        = "zip"
  source_dir  = coalesce(var.package_dir, "${path.module}/../../dist/lambda")
  output_path = "${path.module}/.terraform/${var.name}.zip"
}

resource "aws_lambda_function" "ca" {
  function_name                  = var.name
  description                    = "The certificate authority of ${var.trust_domain}"
  role                           = aws_iam_role.function.arn
  runtime                        = "nodejs24.x"
  handler                        = "lambda.handler"
  architectures                  = [var.architecture]
  memory_size                    = var.memory_mb
  timeout                        = 29
  reserved_concurrent_executions = var.max_concurrency
  filename                       = data.archive_file.package.output_path
  source_code_hash               = data.archive_file.package.output_base64sha256

  environment {
    variables = merge(var.settings, {
      COUNTERSIGN_TRUST_DOMAIN = var.trust_domain
      COUNTERSIGN_PUBLIC_URL   = aws_apigatewayv2_api.ca.api_endpoint
      COUNTERSIGN_STORE        = "postgres://countersign:${random_password.store.result}@${aws_db_instance.store.endpoint}/countersign?sslmode=verify-full"
      COUNTERSIGN_SEALING      = "kms:${aws_kms_key.sealing.arn}"
      COUNTERSIGN_ROOT_KEY     = "offline"
      COUNTERSIGN_PUBLISH      = "s3://${aws_s3_bucket.documents.id}"
      # The roots of RDS are among those that Lambda brings along.
      NODE_EXTRA_CA_CERTS = "/var/runtime/ca-cert.pem"
    })
  }

  vpc_config {
    subnet_ids         = var.subnet_ids
    security_group_ids = [aws_security_group.function.id]
  }

  logging_config {
    log_format = "JSON"
    log_group  = aws_cloudwatch_log_group.ca.name
  }
}

resource "aws_cloudwatch_log_group" "ca" {
  name              = "/aws/lambda/${var.name}"
  retention_in_days = 90
}

resource "aws_iam_role" "function" {
  name = "${var.name}-function"
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Effect    = "Allow"
        Principal = { Service = "lambda.amazonaws.com" }
        Action    = "sts:AssumeRole"
      },
    ]
  })
}

# What it may do with keys is in the keys' own policies (kms.tf): that of the root names it nowhere.
resource "aws_iam_role_policy" "function" {
  name = "${var.name}-function"
  role = aws_iam_role.function.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid      = "Log"
        Effect   = "Allow"
        Action   = ["logs:CreateLogStream", "logs:PutLogEvents"]
        Resource = "${aws_cloudwatch_log_group.ca.arn}:*"
      },
      {
        Sid      = "PublishDocuments"
        Effect   = "Allow"
        Action   = ["s3:PutObject"]
        Resource = "${aws_s3_bucket.documents.arn}/*"
      },
      {
        # Lambda makes the function's network interfaces with its role; these actions name no resource.
        Sid      = "BeInTheVpc"
        Effect   = "Allow"
        Action   = ["ec2:CreateNetworkInterface", "ec2:DescribeNetworkInterfaces", "ec2:DescribeSubnets", "ec2:DeleteNetworkInterface", "ec2:AssignPrivateIpAddresses", "ec2:UnassignPrivateIpAddresses"]
        Resource = "*"
      },
      {
        # The function's own code does none of that.
        Sid       = "NotByItsCode"
        Effect    = "Deny"
        Action    = ["ec2:*"]
        Resource  = "*"
        Condition = { ArnEquals = { "lambda:SourceFunctionArn" = local.function_arn } }
      },
    ]
  })
}

resource "aws_security_group" "function" {
  name        = "${var.name}-function"
  description = "The function of ${var.name}: it reaches Postgres, KMS and S3"
  vpc_id      = var.vpc_id
}

resource "aws_vpc_security_group_egress_rule" "function_to_store" {
  security_group_id            = aws_security_group.function.id
  referenced_security_group_id = aws_security_group.store.id
  ip_protocol                  = "tcp"
  from_port                    = 5432
  to_port                      = 5432
}

resource "aws_vpc_security_group_egress_rule" "function_to_kms" {
  security_group_id            = aws_security_group.function.id
  referenced_security_group_id = aws_security_group.kms.id
  ip_protocol                  = "tcp"
  from_port                    = 443
  to_port                      = 443
}

resource "aws_security_group" "kms" {
  name        = "${var.name}-kms"
  description = "KMS, as the function of ${var.name} reaches it"
  vpc_id      = var.vpc_id
}

resource "aws_vpc_security_group_ingress_rule" "kms_from_function" {
  security_group_id            = aws_security_group.kms.id
  referenced_security_group_id = aws_security_group.function.id
  ip_protocol                  = "tcp"
  from_port                    = 443
  to_port                      = 443
}

resource "aws_vpc_endpoint" "kms" {
  vpc_id              = var.vpc_id
  service_name        = "com.amazonaws.${data.aws_region.current.region}.kms"
  vpc_endpoint_type   = "Interface"
  private_dns_enabled = true
  subnet_ids          = var.subnet_ids
  security_group_ids  = [aws_security_group.kms.id]
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Effect    = "Allow"
        Principal = { AWS = aws_iam_role.function.arn }
        Action    = ["kms:GenerateDataKey", "kms:Decrypt"]
        Resource  = aws_kms_key.sealing.arn
      },
      {
        Effect    = "Allow"
        Principal = { AWS = aws_iam_role.function.arn }
        Action    = ["kms:Sign", "kms:GetPublicKey", "kms:DescribeKey"]
        Resource  = aws_kms_key.intermediate.arn
      },
    ]
  })
}

locals {
  function_arn = "arn:${data.aws_partition.current.partition}:lambda:${data.aws_region.current.region}:${data.aws_caller_identity.current.account_id}:function:${var.name}"
}
