# The root's key: it never leaves KMS, and only the ceremony role signs with it. Deny goes before whatever IAM allows.
resource "aws_kms_key" "root" {
  description              = "${var.name}: root of ${var.trust_domain}"
  customer_master_key_spec = "ECC_NIST_P256"
  key_usage                = "SIGN_VERIFY"
  deletion_window_in_days  = 30
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid       = "Administer"
        Effect    = "Allow"
        Principal = { AWS = var.key_administrator_arns }
        Action    = local.key_administration
        Resource  = "*"
      },
      {
        Sid       = "SignInCeremonies"
        Effect    = "Allow"
        Principal = { AWS = var.ceremony_role_arn }
        Action    = ["kms:Sign", "kms:GetPublicKey", "kms:DescribeKey"]
        Resource  = "*"
      },
      {
        Sid       = "NobodyElseSigns"
        Effect    = "Deny"
        Principal = { AWS = "*" }
        Action    = ["kms:Sign", "kms:CreateGrant"]
        Resource  = "*"
        Condition = { ArnNotEquals = { "aws:PrincipalArn" = var.ceremony_role_arn } }
      },
    ]
  })

  lifecycle {
    prevent_destroy = true
  }
}

resource "aws_kms_alias" "root" {
  name          = "alias/${var.name}-root"
  target_key_id = aws_kms_key.root.key_id
}

# Wraps the key that seals all others in the database: without it the database is worth nothing, to thieves and to us.
resource "aws_kms_key" "sealing" {
  description             = "${var.name}: sealing key of ${var.trust_domain}"
  enable_key_rotation     = true
  deletion_window_in_days = 30
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid       = "Administer"
        Effect    = "Allow"
        Principal = { AWS = var.key_administrator_arns }
        Action    = local.key_administration
        Resource  = "*"
      },
      {
        Sid       = "WrapAndUnwrap"
        Effect    = "Allow"
        Principal = { AWS = concat([aws_iam_role.function.arn], var.operator_role_arns) }
        Action    = ["kms:GenerateDataKey", "kms:Decrypt"]
        Resource  = "*"
        Condition = {
          StringEquals = {
            "kms:EncryptionContext:countersign:purpose"      = "sealing-key"
            "kms:EncryptionContext:countersign:trust-domain" = var.trust_domain
          }
        }
      },
      {
        Sid       = "NobodyElseUnwraps"
        Effect    = "Deny"
        Principal = { AWS = "*" }
        Action    = ["kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:CreateGrant"]
        Resource  = "*"
        Condition = { ArnNotEquals = { "aws:PrincipalArn" = concat([aws_iam_role.function.arn], var.operator_role_arns) } }
      },
    ]
  })

  lifecycle {
    prevent_destroy = true
  }
}

# Signs issuers, some times a week, below a root that is offline.
resource "aws_kms_key" "intermediate" {
  description              = "${var.name}: intermediate of ${var.trust_domain}"
  customer_master_key_spec = "ECC_NIST_P256"
  key_usage                = "SIGN_VERIFY"
  deletion_window_in_days  = 30
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid       = "Administer"
        Effect    = "Allow"
        Principal = { AWS = var.key_administrator_arns }
        Action    = local.key_administration
        Resource  = "*"
      },
      {
        Sid       = "SignIssuers"
        Effect    = "Allow"
        Principal = { AWS = concat([aws_iam_role.function.arn], var.operator_role_arns) }
        Action    = ["kms:Sign", "kms:GetPublicKey", "kms:DescribeKey"]
        Resource  = "*"
      },
      {
        Sid       = "NobodyElseSigns"
        Effect    = "Deny"
        Principal = { AWS = "*" }
        Action    = ["kms:Sign", "kms:CreateGrant"]
        Resource  = "*"
        Condition = { ArnNotEquals = { "aws:PrincipalArn" = concat([aws_iam_role.function.arn], var.operator_role_arns) } }
      },
    ]
  })

  lifecycle {
    prevent_destroy = true
  }
}

resource "aws_kms_alias" "intermediate" {
  name          = "alias/${var.name}-intermediate"
  target_key_id = aws_kms_key.intermediate.key_id
}

resource "aws_kms_alias" "sealing" {
  name          = "alias/${var.name}-sealing"
  target_key_id = aws_kms_key.sealing.key_id
}

locals {
  key_administration = [
    "kms:Create*", "kms:Describe*", "kms:Enable*", "kms:List*", "kms:Put*", "kms:Update*", "kms:Revoke*", "kms:Disable*", "kms:Get*", "kms:Delete*",
    "kms:TagResource", "kms:UntagResource", "kms:ScheduleKeyDeletion", "kms:CancelKeyDeletion", "kms:RotateKeyOnDemand",
  ]
}
