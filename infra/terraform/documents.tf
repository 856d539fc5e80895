# What is for everybody to read, and is read here without the CA: bundle, CRLs and the certificates of authorities, put by the schedule.
resource "aws_s3_bucket" "documents" {
  bucket_prefix = "${var.name}-documents-"
}

# The CA puts each anew within the hour: an older one is for looking back only.
resource "aws_s3_bucket_versioning" "documents" {
  bucket = aws_s3_bucket.documents.id

  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_lifecycle_configuration" "documents" {
  bucket     = aws_s3_bucket.documents.id
  depends_on = [aws_s3_bucket_versioning.documents]

  rule {
    id     = "forget"
    status = "Enabled"
    filter {}

    noncurrent_version_expiration {
      noncurrent_days = 30
    }

    abort_incomplete_multipart_upload {
      days_after_initiation = 1
    }
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "documents" {
  bucket = aws_s3_bucket.documents.id

  rule {
    apply_server_side_encryption_by_default {
      sse_algorithm = "AES256"
    }
  }
}

resource "aws_s3_bucket_ownership_controls" "documents" {
  bucket = aws_s3_bucket.documents.id

  rule {
    object_ownership = "BucketOwnerEnforced"
  }
}

resource "aws_s3_bucket_public_access_block" "documents" {
  bucket                  = aws_s3_bucket.documents.id
  block_public_acls       = true
  ignore_public_acls      = true
  block_public_policy     = !var.public_documents
  restrict_public_buckets = !var.public_documents
}

resource "aws_s3_bucket_policy" "documents" {
  bucket     = aws_s3_bucket.documents.id
  depends_on = [aws_s3_bucket_public_access_block.documents]
  policy     = jsonencode({ Version = "2012-10-17", Statement = concat(local.documents_policy, var.public_documents ? local.documents_for_everybody : []) })
}

locals {
  s3 = "com.amazonaws.${data.aws_region.current.region}.s3"
  documents_policy = [
    {
      # Who may write here says what is revoked to whoever reads here: whatever IAM allows others. To empty the bucket, take this away first.
      Sid       = "NobodyElseWrites"
      Effect    = "Deny"
      Principal = { AWS = "*" }
      Action    = ["s3:PutObject", "s3:DeleteObject", "s3:DeleteObjectVersion"]
      Resource  = "${aws_s3_bucket.documents.arn}/*"
      Condition = { ArnNotEquals = { "aws:PrincipalArn" = aws_iam_role.function.arn } }
    },
    {
      Sid       = "NotInTheClear"
      Effect    = "Deny"
      Principal = { AWS = "*" }
      Action    = ["s3:PutObject"]
      Resource  = "${aws_s3_bucket.documents.arn}/*"
      Condition = { Bool = { "aws:SecureTransport" = "false" } }
    },
  ]
  # Not the list of what there is. Without TLS too: CRLs are signed, and software fetches them by http.
  documents_for_everybody = [
    {
      Sid       = "EverybodyReads"
      Effect    = "Allow"
      Principal = { AWS = "*" }
      Action    = ["s3:GetObject"]
      Resource  = "${aws_s3_bucket.documents.arn}/*"
    },
  ]
}

# The way there without the internet; it costs nothing, and carries nothing else.
resource "aws_vpc_endpoint" "s3" {
  count             = length(var.route_table_ids) == 0 ? 0 : 1
  vpc_id            = var.vpc_id
  service_name      = local.s3
  vpc_endpoint_type = "Gateway"
  route_table_ids   = var.route_table_ids
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Effect    = "Allow"
        Principal = { AWS = "*" }
        Action    = ["s3:PutObject"]
        Resource  = "${aws_s3_bucket.documents.arn}/*"
        Condition = { ArnEquals = { "aws:PrincipalArn" = aws_iam_role.function.arn } }
      },
    ]
  })
}

data "aws_ec2_managed_prefix_list" "s3" {
  name = local.s3
}

resource "aws_vpc_security_group_egress_rule" "function_to_s3" {
  security_group_id = aws_security_group.function.id
  prefix_list_id    = data.aws_ec2_managed_prefix_list.s3.id
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
}
